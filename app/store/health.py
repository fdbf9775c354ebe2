"""Reads the service's health: database clock, watcher heartbeats, totals for metrics."""

from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert

from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId
from app.store.db.connection import Connection
from app.store.tables import payment_sessions, settlements, watchers

FORGET_WATCHER = timedelta(days=1)

P = payment_sessions


async def takes_writes(connection: Connection) -> bool:
    """Whether the server takes writes: False on a standby or a read-only database."""
    read_only: str = (await connection.execute(text("SHOW transaction_read_only"))).scalar_one()
    return read_only == "off"


async def database_time(connection: Connection) -> datetime:
    """The database's clock, to compare with ours; never used in a decision."""
    now: datetime = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
    return now


async def beat(connection: Connection, watcher_id: str, now: datetime) -> datetime | None:
    """Records a watcher's heartbeat; returns the previous one, or None. Also how far its clock is ahead."""
    ahead_ms = round((now - await database_time(connection)).total_seconds() * 1000)
    earlier: datetime | None = (
        await connection.execute(select(watchers.c.seen_at).where(watchers.c.id == watcher_id))
    ).scalar_one_or_none()
    statement = insert(watchers).values(id=watcher_id, started_at=now, seen_at=now, clock_ahead_ms=ahead_ms)
    fresh = {"seen_at": now, "clock_ahead_ms": ahead_ms}
    await connection.execute(statement.on_conflict_do_update(index_elements=[watchers.c.id], set_=fresh))
    await connection.execute(delete(watchers).where(watchers.c.seen_at < now - FORGET_WATCHER))
    return earlier


async def leave(connection: Connection, watcher_id: str) -> None:
    await connection.execute(delete(watchers).where(watchers.c.id == watcher_id))


async def newest_beat(connection: Connection) -> datetime | None:
    found: datetime | None = (await connection.execute(select(func.max(watchers.c.seen_at)))).scalar()
    return found


@frozen
class SeenWatcher:
    id: str
    started_at: datetime
    seen_at: datetime
    ahead: timedelta
    """How far its clock is ahead of the database's."""


async def listed_watchers(connection: Connection, *, limit: int) -> list[SeenWatcher]:
    """Watchers whose heartbeat is not forgotten, the newest heartbeat first."""
    w = watchers.c
    query = (
        select(w.id, w.started_at, w.seen_at, w.clock_ahead_ms).order_by(w.seen_at.desc(), w.id).limit(limit)
    )
    return [
        SeenWatcher(r.id, r.started_at, r.seen_at, timedelta(milliseconds=r.clock_ahead_ms))
        for r in await connection.execute(query)
    ]


@frozen(kw_only=True)
class Totals:
    """Totals over sessions, in minor units of one currency. The sessions of one operator or of all."""

    currency: str
    sessions: int
    authorized_minor: int
    captured_minor: int
    released_minor: int
    shortfall_minor: int
    energy_wh: int


async def by_status(connection: Connection, operator_id: OperatorId | None) -> dict[str, int]:
    query = select(P.c.status, func.count().label("sessions")).group_by(P.c.status)
    if operator_id is not None:
        query = query.where(P.c.operator_id == operator_id)
    return {row.status: row.sessions for row in await connection.execute(query)}


async def need_attention(connection: Connection, operator_id: OperatorId | None) -> int:
    query = select(func.count()).where(P.c.needs_attention)
    if operator_id is not None:
        query = query.where(P.c.operator_id == operator_id)
    return int((await connection.execute(query)).scalar_one())


async def totals(
    connection: Connection, operator_id: OperatorId | None, *, start: datetime, end: datetime
) -> list[Totals]:
    """Sums by currency the sessions recorded from `start` (inclusive) to `end` (exclusive)."""
    s = settlements.c
    query = (
        select(
            P.c.currency,
            func.count(P.c.id),
            *(
                func.coalesce(func.sum(c), 0)
                for c in (
                    P.c.authorized_minor,
                    s.to_capture_minor,
                    s.to_release_minor,
                    s.shortfall_minor,
                    s.energy_wh,
                )
            ),
        )
        .select_from(P.outerjoin(settlements, s.session_id == P.c.id))
        .where(P.c.created_at >= start, P.c.created_at < end)
        .group_by(P.c.currency)
        .order_by(P.c.currency)
    )
    if operator_id is not None:
        query = query.where(P.c.operator_id == operator_id)
    return [
        Totals(
            currency=c,
            sessions=n,
            authorized_minor=int(a),
            captured_minor=int(b),
            released_minor=int(r),
            shortfall_minor=int(f),
            energy_wh=int(e),
        )
        for c, n, a, b, r, f, e in await connection.execute(query)
    ]
