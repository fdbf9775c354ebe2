"""Finds running sessions: their versions, and work that is due."""

from datetime import datetime

from sqlalchemy import func, select

from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId, SessionId
from app.store.db.connection import Connection
from app.store.sessions.session_filter import is_active
from app.store.tables import kept_readings, payment_sessions

P, R = payment_sessions, kept_readings


@frozen(kw_only=True)
class DueWork:
    """When a session's next work is due, and which watcher holds it until when."""

    session_id: SessionId
    operator_id: OperatorId
    display_reference: str
    charge_point_id: str
    status: str
    due_at: datetime
    lease_owner: str | None
    lease_until: datetime | None


async def running_versions(
    connection: Connection, operator_id: OperatorId | None, *, limit: int
) -> dict[SessionId, int]:
    """Returns versions of up to `limit` running sessions, newest first. As they are shown: each reading that is kept
    beside a session counts. A session that runs always has a due time, so the index of these is enough."""
    shown = (P.c.version + func.coalesce(R.c.count, 0)).label("version")
    joined = P.outerjoin(R, R.c.session_id == P.c.id)
    query = select(P.c.id, shown).select_from(joined).where(P.c.due_at.is_not(None), is_active())
    if operator_id is not None:
        query = query.where(P.c.operator_id == operator_id)
    query = query.order_by(P.c.created_at.desc(), P.c.id.desc()).limit(limit)
    return {SessionId(row.id): row.version for row in await connection.execute(query)}


async def count_running(connection: Connection) -> dict[str, int]:
    """Sessions of all operators that have not ended, by status."""
    query = select(P.c.status, func.count().label("sessions")).where(P.c.due_at.is_not(None), is_active())
    return {row.status: row.sessions for row in await connection.execute(query.group_by(P.c.status))}


async def overdue_work(
    connection: Connection, operator_id: OperatorId | None, before: datetime, *, limit: int
) -> list[DueWork]:
    """Returns work that was due before a time and is not done, the oldest first."""
    query = _DUE.where(P.c.due_at < before).order_by(P.c.due_at, P.c.id).limit(limit)
    if operator_id is not None:
        query = query.where(P.c.operator_id == operator_id)
    return [DueWork(**row) for row in await connection.execute(query)]


async def next_work(connection: Connection, session_id: SessionId) -> DueWork | None:
    """Returns a session's next work. None: there is none until news comes."""
    row = (await connection.execute(_DUE.where(P.c.id == session_id))).one_or_none()
    return DueWork(**row) if row else None


_DUE = select(
    P.c.id.label("session_id"),
    P.c.operator_id,
    P.c.display_reference,
    P.c.charge_point_id,
    P.c.status,
    P.c.due_at,
    P.c.lease_owner,
    P.c.lease_until,
).where(P.c.due_at.is_not(None))
