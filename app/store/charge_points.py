"""Charge points as Monta last showed them, and the tariffs that people set for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, bindparam, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.charge_point import ChargePoint, ChargePointState, CurrentType
from app.domain.ids import ChargePointId, OperatorId, TerminalId
from app.domain.tariff import Tariff, parse_tariff
from app.domain.tariff.validity import in_force
from app.store import price_groups
from app.store.tables import charge_points, tariffs, terminal_charge_points

C = charge_points


PRICE_GROUP = "monta_price_group"


@dataclass(frozen=True, slots=True)
class KnownChargePoint:
    """A charge point of an operator; `seen` is None until Monta told of it."""

    operator_id: OperatorId
    id: ChargePointId
    seen: ChargePoint | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffFound:
    """A tariff, where it comes from (`payment`, `charge_point`, `operator`, `monta_price_group`), and its gaps."""

    tariff: Tariff
    source: str
    gaps: tuple[str, ...] = ()
    as_of: datetime | None = None
    """When it was set, or read from Monta."""


async def put(connection: AsyncConnection, operator_id: OperatorId, points: Sequence[ChargePoint]) -> None:
    """Keep what Monta shows of charge points that we know; those that no terminal uses are left out."""
    known = select(C.c.charge_point_id).where(C.c.operator_id == operator_id).order_by(C.c.charge_point_id)
    ours = set((await connection.execute(known.with_for_update())).scalars())
    rows = [_row(operator_id, p) for p in sorted(points, key=lambda p: p.id) if p.id in ours]
    if not rows:
        return
    statement = insert(C).values(rows)
    fresh = {c: statement.excluded[c] for c in rows[0] if c not in ("operator_id", "charge_point_id")}
    await connection.execute(
        statement.on_conflict_do_update(index_elements=[C.c.operator_id, C.c.charge_point_id], set_=fresh)
    )


async def get(
    connection: AsyncConnection, operator_id: OperatorId, charge_point_id: ChargePointId
) -> KnownChargePoint | None:
    query = select(C).where(C.c.operator_id == operator_id, C.c.charge_point_id == charge_point_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    return _known(row) if row else None


async def of_terminal(connection: AsyncConnection, terminal_id: TerminalId) -> list[KnownChargePoint]:
    links = terminal_charge_points
    query = (
        select(C)
        .join(
            links, (links.c.operator_id == C.c.operator_id) & (links.c.charge_point_id == C.c.charge_point_id)
        )
        .where(links.c.terminal_id == terminal_id)
        .order_by(C.c.charge_point_id)
    )
    return [_known(row) for row in (await connection.execute(query)).mappings()]


async def set_tariff(
    connection: AsyncConnection,
    operator_id: OperatorId,
    charge_point_id: ChargePointId | None,
    tariff: Tariff,
    now: datetime,
) -> None:
    """The tariff of one charge point, or (None) of all the operator's others. Running sessions keep theirs."""
    statement = insert(tariffs).values(
        operator_id=operator_id, charge_point_id=charge_point_id or "", tariff=tariff.source, set_at=now
    )
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=[tariffs.c.operator_id, tariffs.c.charge_point_id],
            set_={"tariff": statement.excluded.tariff, "set_at": now},
        )
    )


async def are_priced(
    connection: AsyncConnection, operator_id: OperatorId, ids: Sequence[ChargePointId]
) -> frozenset[ChargePointId]:
    """Those among these ids that a person set a tariff for; all of them when the operator has one."""
    t = tariffs.c
    query = select(t.charge_point_id).where(t.operator_id == operator_id, t.charge_point_id.in_([*ids, ""]))
    found = set((await connection.execute(query)).scalars())
    return frozenset(ids) if "" in found else frozenset(id_ for id_ in ids if id_ in found)


async def tariff_for(
    connection: AsyncConnection, operator_id: OperatorId, charge_point_id: ChargePointId, now: datetime
) -> TariffFound | None:
    """The tariff that applies: the charge point's own before the operator's, before Monta's price group."""
    set_here = await tariff_set(connection, operator_id, charge_point_id, now)
    if set_here is not None:
        return set_here
    of_group = await price_groups.tariff_of(connection, operator_id, charge_point_id, now)
    if of_group is None:
        return None
    return TariffFound(tariff=of_group.tariff, source=PRICE_GROUP, gaps=of_group.gaps, as_of=of_group.read_at)


_SET = (
    select(tariffs.c.tariff, tariffs.c.charge_point_id, tariffs.c.set_at)
    .where(
        tariffs.c.operator_id == bindparam("operator"),
        or_(tariffs.c.charge_point_id == bindparam("point"), tariffs.c.charge_point_id == ""),
    )
    .order_by(tariffs.c.charge_point_id.desc())
)
"""Built once: every payment asks it."""


async def tariff_set(
    connection: AsyncConnection, operator_id: OperatorId, charge_point_id: ChargePointId, now: datetime
) -> TariffFound | None:
    """The tariff in force that a person set: the charge point's own before the operator's."""
    for row in await connection.execute(_SET, {"operator": operator_id, "point": charge_point_id}):
        tariff = parse_tariff(row.tariff)
        if in_force(tariff, now):
            source = "charge_point" if row.charge_point_id else "operator"
            return TariffFound(tariff=tariff, source=source, as_of=row.set_at)
    return None


def _row(operator_id: OperatorId, point: ChargePoint) -> dict[str, Any]:
    return {
        "operator_id": operator_id,
        "charge_point_id": point.id,
        "name": point.name,
        "state": point.state,
        "connectors": list(point.connectors),
        "current_type": point.type,
        "max_power_w": point.max_power_w,
        "cable_plugged_in": point.cable_plugged_in,
        "price_group_id": point.price_group_id,
        "model": point.model,
        "seen_at": point.seen_at,
    }


def _known(row: RowMapping) -> KnownChargePoint:
    operator_id, point_id = OperatorId(row["operator_id"]), ChargePointId(row["charge_point_id"])
    if row["seen_at"] is None:
        return KnownChargePoint(operator_id, point_id, None)
    seen = ChargePoint(
        id=point_id,
        state=ChargePointState(row["state"]),
        seen_at=row["seen_at"],
        updated_at=None,
        name=row["name"],
        type=CurrentType(row["current_type"]) if row["current_type"] else None,
        max_power_w=row["max_power_w"],
        connectors=tuple(row["connectors"]),
        cable_plugged_in=row["cable_plugged_in"],
        price_group_id=row["price_group_id"],
        model=row["model"],
    )
    return KnownChargePoint(operator_id, point_id, seen)
