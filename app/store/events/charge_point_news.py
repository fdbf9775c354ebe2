"""Finds charge points that differ from what terminal makers were last told of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ARRAY, Text, and_, bindparam, cast, func, or_, select, update

from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargePointId, OperatorId, TerminalId
from app.store.db.connection import Connection
from app.store.operators.charge_points import KnownChargePoint, known_from
from app.store.tables import (
    charge_points,
    event_endpoints,
    price_groups,
    tariffs,
    terminal_charge_points,
    terminals,
)

C, G, L, T, P = charge_points, price_groups, terminal_charge_points, terminals, event_endpoints
OWN, ALL = tariffs.alias("own"), tariffs.alias("of_all")


@frozen(kw_only=True)
class ChangedPoint:
    """A charge point that was not told as it is. `is_known`: it was told before, so that this is news."""

    point: KnownChargePoint
    digest: bytes
    is_known: bool
    terminal_ids: Sequence[TerminalId]
    """Terminals that use it and whose makers have an endpoint."""


async def changed(connection: Connection, operator_id: OperatorId, *, limit: int) -> list[ChangedPoint]:
    """Locks and returns charge points with another state, name, connectors, power or price. Only those whose
    terminals' makers have an endpoint."""
    rows = await connection.execute(_CHANGED, {"operator": operator_id, "limit": limit})
    return [
        ChangedPoint(
            point=known_from(row),
            digest=row["digest"],
            is_known=row["told_digest"] is not None,
            terminal_ids=[TerminalId(each) for each in row["told_terminals"]],
        )
        for row in rows
    ]


async def note_told(
    connection: Connection, operator_id: OperatorId, told: Mapping[ChargePointId, bytes]
) -> None:
    rows = [{"operator": operator_id, "point": each, "digest": told[each]} for each in sorted(told)]
    if rows:
        await connection.execute(_TOLD, rows)


def _changed_statement() -> Any:
    mine = and_(L.c.operator_id == C.c.operator_id, L.c.charge_point_id == C.c.charge_point_id)
    wanted = or_(P.c.terminal_id == T.c.id, P.c.provider == T.c.provider)
    told = (
        select(func.array_agg(T.c.id.distinct(), type_=ARRAY(Text)))
        .select_from(
            L.join(T, T.c.id == L.c.terminal_id).join(P, and_(P.c.operator_id == T.c.operator_id, wanted))
        )
        .where(mine)
        .correlate(C)
        .scalar_subquery()
    )
    price = func.coalesce(OWN.c.tariff, ALL.c.tariff, G.c.tariff)
    parts = (C.c.state, C.c.name, C.c.connectors, C.c.max_power_w, C.c.deleted_at.is_not(None), price)
    shown = func.jsonb_build_array(*parts)
    digest = func.sha256(func.convert_to(cast(shown, Text), "UTF8"))
    found = (
        select(C, digest.label("digest"), told.label("told_terminals"))
        .select_from(
            C.outerjoin(
                OWN, and_(OWN.c.operator_id == C.c.operator_id, OWN.c.charge_point_id == C.c.charge_point_id)
            )
            .outerjoin(ALL, and_(ALL.c.operator_id == C.c.operator_id, ALL.c.charge_point_id == ""))
            .outerjoin(G, and_(G.c.operator_id == C.c.operator_id, G.c.price_group_id == C.c.price_group_id))
        )
        .where(
            C.c.operator_id == bindparam("operator"),
            C.c.seen_at.is_not(None),
            C.c.told_digest.is_distinct_from(digest),
            told.is_not(None),
        )
    )
    return found.order_by(C.c.charge_point_id).limit(bindparam("limit")).with_for_update(of=C)


_CHANGED = _changed_statement()
_TOLD = (
    update(C)
    .where(C.c.operator_id == bindparam("operator"), C.c.charge_point_id == bindparam("point"))
    .values(told_digest=bindparam("digest"))
)
