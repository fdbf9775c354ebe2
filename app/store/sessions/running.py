"""Finds running sessions' versions, so that only changed ones are read."""

from sqlalchemy import func, select

from app.domain.units.ids import OperatorId, SessionId
from app.store.db.connection import Connection
from app.store.sessions.session_filter import is_active
from app.store.tables import kept_readings, payment_sessions

P, R = payment_sessions, kept_readings


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
