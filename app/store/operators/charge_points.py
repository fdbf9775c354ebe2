"""Stores charge points as Monta last showed them. With their tariffs and learned profiles."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, TypeAlias

import msgspec
from sqlalchemy import ARRAY, Text, bindparam, cast, func, or_, select, update
from sqlalchemy.dialects.postgresql import Insert, insert

from app.domain.charging.availability import DELETED
from app.domain.charging.charge_point import (
    OUT_OF_SERVICE,
    ChargePoint,
    ChargePointReport,
    ChargePointState,
    CurrentType,
)
from app.domain.limit.profile import ChargePointProfile
from app.domain.tariff import Tariff
from app.domain.tariff.time_windows import in_force
from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargePointId, OperatorId
from app.store.db.connection import Connection, Row
from app.store.db.documents import as_text, to_document
from app.store.db.statements import by_column, given_rows, is_any, is_any_given
from app.store.operators import price_groups
from app.store.outages import SeenState, follow_points
from app.store.parsed_tariffs import parsed_tariff
from app.store.tables import charge_points, tariffs

C = charge_points


KEY = ("operator_id", "charge_point_id")
SHOWN = (
    "name",
    "max_power_w",
    "cable_plugged_in",
    "price_group_id",
    "model",
    "evse_id",
    "site_id",
    "address",
    "deleted_at",
)
"""Columns that hold what Monta shows under the same name, as it is."""
PRICE_GROUP = "monta_price_group"
QUIET = timedelta(minutes=1)
"""An older report causes a read of the record only after this time without another report of the charge point."""


@frozen
class KnownChargePoint:
    """A charge point of an operator; `seen` is None until Monta showed it."""

    operator_id: OperatorId
    id: ChargePointId
    seen: ChargePoint | None


@frozen(kw_only=True)
class TariffFound:
    """A tariff, its source (`payment`, `charge_point`, `operator`, `monta_price_group`) and its gaps."""

    tariff: Tariff
    source: str
    gaps: tuple[str, ...] = ()
    as_of: datetime | None = None
    """When it was set, or read from Monta."""


async def put(connection: Connection, operator_id: OperatorId, points: Sequence[ChargePoint]) -> None:
    """Saves charge points as Monta's record shows them. Ignores those that no terminal uses. A later change that a
    webhook reported after the record was requested stays."""
    known = await _locked(connection, operator_id, [point.id for point in points])
    fresh_ones = [p for p in points if p.id in known and not _is_newer(known[p.id], p)]
    rows = [_row(operator_id, p) for p in sorted(fresh_ones, key=lambda p: p.id)]
    if not rows:
        return
    await connection.execute(_put_row(tuple(rows[0])), rows)
    seen = {ChargePointId(row["charge_point_id"]): _seen(row) for row in rows}
    await follow_points(connection, operator_id, seen)


@cache
def _put_row(names: Sequence[str]) -> Insert:
    """The statement for one row of these columns. Built once, so that it is compiled once."""
    statement = insert(C)
    fresh: dict[str, Any] = {name: statement.excluded[name] for name in names if name not in KEY}
    fresh["first_seen_at"] = func.coalesce(C.c.first_seen_at, statement.excluded.first_seen_at)
    return statement.on_conflict_do_update(index_elements=[C.c.operator_id, C.c.charge_point_id], set_=fresh)


async def apply(
    connection: Connection, operator_id: OperatorId, reports: Sequence[ChargePointReport]
) -> tuple[ChargePointId, ...]:
    """Applies webhook reports to charge points in Monta's own order. Ignores those that no terminal uses.

    Returns those whose record should be read: their report is older than what is kept and differs from it, with no
    other report for QUIET. Monta's clock may have been set back.
    """
    known = await _locked(connection, operator_id, [each.id for each in reports])
    outdated: dict[ChargePointId, None] = {}
    applied: dict[ChargePointId, SeenState] = {}
    for each in sorted(reports, key=lambda r: r.order):
        row = known.get(each.id)
        if row is None:
            continue
        if _is_old(each, row):
            quiet = each.received_at - row["seen_at"]
            if quiet >= QUIET and any(
                row[name] != value for name, value in _reported_columns(each, row).items()
            ):
                outdated[each.id] = None
            continue
        fresh = _reported_columns(each, row) | _stamps(each, row)
        known[each.id] = row | fresh
        applied[each.id] = _seen(known[each.id])
        await connection.execute(_CHANGE, {"operator": operator_id, "point": each.id} | fresh)
    await follow_points(connection, operator_id, applied)
    return tuple(outdated)


def _is_old(report: ChargePointReport, row: Mapping[str, Any]) -> bool:
    """Whether the record is outdated. It was changed since, or a later event of the same record came."""
    if row["updated_at"] is None or row["seen_at"] is None:
        return False
    return report.order < (row["updated_at"], row["event_at"] or report.event_at)


def _is_newer(row: Mapping[str, Any], point: ChargePoint) -> bool:
    """Whether what is kept is newer than the record. It arrived after the record was requested and is of a later
    change. By both clocks."""
    if row["seen_at"] is None or row["updated_at"] is None or point.updated_at is None:
        return False
    return bool(row["seen_at"] > point.seen_at and row["updated_at"] > point.updated_at)


def _reported_columns(report: ChargePointReport, row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that the report has. All of them where nothing was known yet."""
    if report.shown is None:
        return {"deleted_at": report.event_at}
    columns = _columns(report.shown)
    named = {"current_type" if name == "type" else name for name in report.reported_fields}
    if row["seen_at"] is not None:
        columns = {name: value for name, value in columns.items() if name in named}
    return columns | ({"deleted_at": report.shown.deleted_at or report.event_at} if report.is_gone else {})


def _stamps(report: ChargePointReport, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "first_seen_at": row["first_seen_at"] or report.received_at,
        "seen_at": report.received_at,
        "updated_at": report.updated_at,
        "event_at": report.event_at,
    } | ({"state": ChargePointState.OTHER} if report.shown is None else {})


def _seen(row: Mapping[str, Any]) -> SeenState:
    """Whether a charge point is in service. As of when we saw it: an outage is measured by our own clock."""
    if row["deleted_at"] is not None:
        return SeenState(DELETED, row["seen_at"])
    return SeenState(row["state"] if row["state"] in OUT_OF_SERVICE else None, row["seen_at"])


_LOCK = (
    select(C)
    .where(C.c.operator_id == bindparam("operator"), is_any_given(C.c.charge_point_id, "points"))
    .order_by(C.c.charge_point_id)
    .with_for_update()
)


async def _locked(
    connection: Connection, operator_id: OperatorId, ids: Sequence[ChargePointId]
) -> dict[ChargePointId, dict[str, Any]]:
    """Locks those of these charge points that terminals use. In the order of their ids."""
    if not ids:
        return {}
    rows = await connection.execute(_LOCK, {"operator": operator_id, "points": sorted(set(ids))})
    return {ChargePointId(row["charge_point_id"]): dict(row) for row in rows}


_HERE = (C.c.operator_id == bindparam("operator"), C.c.charge_point_id == bindparam("point"))
_ONE = select(C).where(*_HERE)
_CHANGE = update(C).where(*_HERE)  # sets the columns that its other parameters name


async def get(
    connection: Connection, operator_id: OperatorId, charge_point_id: ChargePointId
) -> KnownChargePoint | None:
    given = {"operator": operator_id, "point": charge_point_id}
    row = (await connection.execute(_ONE, given)).one_or_none()
    return known_from(row) if row else None


async def set_tariff(
    connection: Connection,
    operator_id: OperatorId,
    charge_point_id: ChargePointId | None,
    tariff: Tariff,
    now: datetime,
) -> None:
    """Sets one charge point's tariff, or (None) the operator's default. That of all its others. Running sessions keep
    theirs."""
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
    connection: Connection, operator_id: OperatorId, ids: Sequence[ChargePointId], now: datetime
) -> frozenset[ChargePointId]:
    """Which of these charge points have a configured tariff in force. All of them when the operator has one."""
    t = tariffs.c
    query = select(t.charge_point_id, as_text(t.tariff)).where(
        t.operator_id == operator_id, is_any(t.charge_point_id, [*ids, ""])
    )
    rows = await connection.execute(query)
    found = {row.charge_point_id for row in rows if in_force(parsed_tariff(row.tariff), now)}
    return frozenset(ids) if "" in found else frozenset(id_ for id_ in ids if id_ in found)


async def tariff_for(
    connection: Connection, operator_id: OperatorId, charge_point_id: ChargePointId, now: datetime
) -> TariffFound | None:
    """Returns the tariff that applies. The charge point's, else the operator's, else of Monta's price group."""
    set_here = await tariff_set(connection, operator_id, charge_point_id, now)
    if set_here is not None:
        return set_here
    of_group = await price_groups.tariff_of(connection, operator_id, charge_point_id, now)
    if of_group is None:
        return None
    return TariffFound(tariff=of_group.tariff, source=PRICE_GROUP, gaps=of_group.gaps, as_of=of_group.read_at)


_SET = (
    select(as_text(tariffs.c.tariff), tariffs.c.charge_point_id, tariffs.c.set_at)
    .where(
        tariffs.c.operator_id == bindparam("operator"),
        or_(tariffs.c.charge_point_id == bindparam("point"), tariffs.c.charge_point_id == ""),
    )
    .order_by(tariffs.c.charge_point_id.desc())
)


async def tariff_set(
    connection: Connection, operator_id: OperatorId, charge_point_id: ChargePointId, now: datetime
) -> TariffFound | None:
    """The configured tariff in force: the charge point's own before the operator's."""
    given = {"operator": operator_id, "point": charge_point_id}
    rows = [
        ("charge_point" if row.charge_point_id else "operator", row.tariff, row.set_at)
        for row in await connection.execute(_SET, given)
    ]
    return configured_tariff(rows, now)


def configured_tariff(
    candidates: Iterable[tuple[str, str | None, datetime]], now: datetime
) -> TariffFound | None:
    """Returns the first of these tariffs that is in force. Given as source, text and time at which it was set."""
    for source, text, set_at in candidates:
        tariff = None if text is None else parsed_tariff(text)
        if tariff is not None and in_force(tariff, now):
            return TariffFound(tariff=tariff, source=source, as_of=set_at)
    return None


def _row(operator_id: OperatorId, point: ChargePoint) -> dict[str, Any]:
    """A row as the record shows it, without anything from webhooks."""
    updated_at = min(point.updated_at or point.seen_at, point.seen_at)
    stamps = {
        "first_seen_at": point.seen_at,
        "seen_at": point.seen_at,
        "updated_at": updated_at,
        "event_at": None,
    }
    return {"operator_id": operator_id, "charge_point_id": point.id} | _columns(point) | stamps


def _columns(point: ChargePoint) -> dict[str, Any]:
    changed = {"state": point.state, "connectors": list(point.connectors), "current_type": point.type}
    return changed | {name: getattr(point, name) for name in SHOWN}


def known_from(row: Row) -> KnownChargePoint:
    """A charge point from its whole row."""
    operator_id, point_id = OperatorId(row["operator_id"]), ChargePointId(row["charge_point_id"])
    if row["seen_at"] is None:
        return KnownChargePoint(operator_id, point_id, None)
    seen = ChargePoint(
        id=point_id,
        state=ChargePointState.OTHER if row["deleted_at"] is not None else ChargePointState(row["state"]),
        seen_at=row["seen_at"],
        updated_at=row["updated_at"],
        type=CurrentType(row["current_type"]) if row["current_type"] else None,
        connectors=tuple(row["connectors"]),
        **{name: row[name] for name in SHOWN},
    )
    return KnownChargePoint(operator_id, point_id, seen)


_PROFILE = msgspec.json.Decoder(ChargePointProfile)
MOST_SIBLINGS = 20
_S = charge_points.alias("siblings")
_SIBLINGS = (
    select(cast(_S.c.profile, Text))
    .where(
        _S.c.operator_id == C.c.operator_id,
        _S.c.model == C.c.model,
        _S.c.profile.is_not(None),
        _S.c.charge_point_id != C.c.charge_point_id,
    )
    .order_by(_S.c.charge_point_id)
    .limit(MOST_SIBLINGS)
    .correlate(C)
)
_PLACES = given_rows({name: C.c[name] for name in KEY})
# Built once: every payment executes them.
_FACTS = select(
    *(c for c in C.c if c.name != "profile"),
    as_text(C.c.profile),
    func.array(_SIBLINGS.scalar_subquery(), type_=ARRAY(Text)).label("siblings"),
).select_from(
    C.join(
        _PLACES,
        (C.c.operator_id == _PLACES.c.operator_id) & (C.c.charge_point_id == _PLACES.c.charge_point_id),
    )
)
_PROFILE_OF = select(as_text(C.c.profile)).where(*_HERE)

Place: TypeAlias = tuple[OperatorId, ChargePointId]


@frozen
class ChargePointFacts:
    """What a new session needs to know of its charge point."""

    known: KnownChargePoint
    profile: ChargePointProfile
    """The learned profile; the default, which is pessimistic, where nothing was learned."""
    siblings: tuple[ChargePointProfile, ...]
    """Profiles of the operator's other charge points of the same model. Empty when the model is unknown."""


async def facts_of(connection: Connection, places: Collection[Place]) -> dict[Place, ChargePointFacts]:
    """What is known of several charge points, in one statement. Leaves out those that no terminal uses."""
    given = by_column([dict(zip(KEY, place, strict=True)) for place in places], KEY)
    found = {}
    for row in await connection.execute(_FACTS, given):
        known = known_from(row)
        found[(known.operator_id, known.id)] = ChargePointFacts(
            known, _profile(row["profile"]), tuple(map(_profile, row["siblings"]))
        )
    return found


async def profile_of(
    connection: Connection, operator_id: OperatorId, charge_point_id: ChargePointId
) -> ChargePointProfile:
    """The learned profile, or the default."""
    given = {"operator": operator_id, "point": charge_point_id}
    return _profile((await connection.execute(_PROFILE_OF, given)).scalar())


def _profile(kept: str | None) -> ChargePointProfile:
    return _PROFILE.decode(kept) if kept else ChargePointProfile()


async def put_profile(
    connection: Connection,
    operator_id: OperatorId,
    charge_point_id: ChargePointId,
    known: ChargePointProfile,
) -> None:
    """Saves the profile. The last write wins: two sessions of one charge point never run at once."""
    mine = (C.c.operator_id == operator_id) & (C.c.charge_point_id == charge_point_id)
    await connection.execute(update(charge_points).where(mine).values(profile=to_document(known)))
