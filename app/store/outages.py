"""Stores when charge points and terminals were out of service. Availability is computed from it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Integer, bindparam, delete, func, insert, or_, select, update

from app.domain.charging.availability import OFFLINE, OUT_OF_ORDER, Outage, Window, silence
from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargePointId, OperatorId, TerminalId
from app.store.db.connection import Connection
from app.store.db.statements import is_any_given
from app.store.tables import charge_points, outages, terminals

U, C, T = outages.c, charge_points.c, terminals.c


@frozen
class SeenState:
    """`cause`: why it is out of service; None: it is in service. `at`: when we saw that."""

    cause: str | None
    at: datetime


_LASTING = select(U.id, U.charge_point_id, U.cause, U.began_at).where(
    U.operator_id == bindparam("operator"),
    is_any_given(U.charge_point_id, "points"),
    U.ended_at.is_(None),
)


async def follow_points(
    connection: Connection, operator_id: OperatorId, seen: Mapping[ChargePointId, SeenState]
) -> None:
    """Begins and ends outages of charge points by their present states. The caller has locked their rows."""
    if not seen:
        return
    rows = await connection.execute(_LASTING, {"operator": operator_id, "points": sorted(seen)})
    causes = {}
    for row in rows:
        state = seen[ChargePointId(row.charge_point_id)]
        causes[row.charge_point_id] = row.cause
        if state.cause != row.cause:
            await _end(connection, row.id, max(state.at, row.began_at))
    new = [
        {"operator_id": operator_id, "charge_point_id": id_, "cause": state.cause, "began_at": state.at}
        for id_, state in sorted(seen.items())
        if state.cause is not None and state.cause != causes.get(id_)
    ]
    if new:
        await connection.execute(insert(outages), new)


@frozen(kw_only=True)
class Heartbeat:
    """What a terminal says of itself."""

    terminal_id: TerminalId
    operator_id: OperatorId
    state: str
    message: str | None
    at: datetime


async def heard(connection: Connection, said: Heartbeat) -> None:
    """Keeps a heartbeat. A silence before it and `out_of_order` are outages."""
    here = T.id == said.terminal_id
    locked = select(T.reported_at).where(here).with_for_update(key_share=True)
    before: datetime | None = (await connection.execute(locked)).scalar()
    if before is not None and before > said.at:
        return
    last = (
        await connection.execute(
            select(U.id, U.began_at, U.cause).where(U.terminal_id == said.terminal_id, U.ended_at.is_(None))
        )
    ).one_or_none()
    lasting = [] if last is None else [Outage(cause=last["cause"], began_at=last["began_at"])]
    mine = {"operator_id": said.operator_id, "terminal_id": said.terminal_id}
    if silent := silence(before, lasting, said.at):
        row = mine | {"cause": OFFLINE, "began_at": silent.began_at, "ended_at": said.at}
        await connection.execute(insert(outages), [row])
    if said.state != OUT_OF_ORDER and last is not None:
        await _end(connection, last["id"], said.at)
    elif said.state == OUT_OF_ORDER and last is None:
        await connection.execute(insert(outages), [mine | {"cause": OUT_OF_ORDER, "began_at": said.at}])
    fresh = {"reported_state": said.state, "reported_message": said.message, "reported_at": said.at}
    since = func.coalesce(T.first_reported_at, said.at)
    await connection.execute(update(terminals).where(here).values(**fresh, first_reported_at=since))


async def _end(connection: Connection, outage_id: int, at: datetime) -> None:
    await connection.execute(update(outages).where(U.id == outage_id).values(ended_at=at))


@frozen(kw_only=True)
class Equipment:
    """A charge point or a terminal; exactly one id is given. `known_since` None: nothing is known."""

    operator_id: OperatorId
    charge_point_id: ChargePointId | None = None
    terminal_id: TerminalId | None = None
    name: str | None
    known_since: datetime | None
    reported_at: datetime | None = None
    """The last heartbeat of a terminal."""
    reported_state: str | None = None
    reported_message: str | None = None


async def points_watched(
    connection: Connection, operator_id: OperatorId | None, *, limit: int
) -> list[Equipment]:
    """Up to `limit` charge points by name."""
    query = select(C.operator_id, C.charge_point_id, C.name, C.first_seen_at.label("known_since"))
    query = _of(query, operator_id, C.operator_id).order_by(
        C.name.nulls_last(), C.operator_id, C.charge_point_id
    )
    return [Equipment(**row) for row in await connection.execute(query.limit(limit))]


async def terminals_watched(
    connection: Connection, operator_id: OperatorId | None, *, limit: int
) -> list[Equipment]:
    """Up to `limit` terminals by name."""
    query = select(
        T.operator_id,
        T.id.label("terminal_id"),
        T.name,
        T.first_reported_at.label("known_since"),
        T.reported_at,
        T.reported_state,
        T.reported_message,
    )
    query = _of(query, operator_id, T.operator_id).order_by(T.name, T.id)
    return [Equipment(**row) for row in await connection.execute(query.limit(limit))]


Subject = tuple[OperatorId, ChargePointId | None, TerminalId | None]


async def outages_within(
    connection: Connection, operator_id: OperatorId | None, window: Window
) -> Mapping[Subject, Sequence[Outage]]:
    """The outages that reach into a window, oldest first."""
    query = (
        select(U.operator_id, U.charge_point_id, U.terminal_id, U.cause, U.began_at, U.ended_at)
        .where(U.began_at < window.end, or_(U.ended_at.is_(None), U.ended_at > window.start))
        .order_by(U.began_at, U.id)
    )
    found: dict[Subject, list[Outage]] = defaultdict(list)
    for row in await connection.execute(_of(query, operator_id, U.operator_id)):
        key = (OperatorId(row.operator_id), row.charge_point_id, row.terminal_id)
        found[key].append(Outage(cause=row.cause, began_at=row.began_at, ended_at=row.ended_at))
    return found


async def count_out(
    connection: Connection, silent_before: datetime, operator_id: OperatorId | None = None
) -> tuple[int, int]:
    """Counts charge points and terminals that are out of service now. Of one operator or of all."""
    lasting = select(func.count(U.charge_point_id), func.count(U.terminal_id)).where(U.ended_at.is_(None))
    lasting = _of(lasting, operator_id, U.operator_id)
    points, out_of_order = tuple((await connection.execute(lasting)).one())
    silent = select(func.count()).where(
        T.reported_at <= silent_before,
        ~select(U.id).where(U.terminal_id == T.id, U.ended_at.is_(None)).correlate(terminals).exists(),
    )
    silent = _of(silent, operator_id, T.operator_id)
    return int(points), int(out_of_order) + int((await connection.execute(silent)).scalar_one())


async def prune(connection: Connection, operator_id: OperatorId, before: datetime, *, limit: int) -> int:
    """Deletes up to `limit` outages that ended before a time. Returns how many."""
    given = {"operator": operator_id, "before": before, "most": limit}
    return (await connection.execute(_PRUNE, given)).rowcount


_OLD = (
    select(U.id)
    .where(U.operator_id == bindparam("operator"), U.ended_at < bindparam("before"))
    .limit(bindparam("most", type_=Integer()))
)
_PRUNE = delete(outages).where(U.id.in_(_OLD))


def _of(query: Any, operator_id: OperatorId | None, column: ColumnElement[Any]) -> Any:
    return query if operator_id is None else query.where(column == operator_id)
