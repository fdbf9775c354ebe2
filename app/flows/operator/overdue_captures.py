"""Flags settlements whose capture result the terminal has not reported in time."""

from datetime import timedelta

import structlog

from app.domain.session.machine import Change
from app.domain.session.settle import flag_overdue
from app.domain.units.ids import SessionId
from app.flows.context import Context
from app.flows.saving import save
from app.store.db.database import is_away, retry_on_serialization_failure
from app.store.operators import jobs
from app.store.operators.jobs import JobLease
from app.store.sessions import payment_sessions
from app.store.sessions.settlements import overdue

log = structlog.get_logger("overdue_captures")

EVERY = timedelta(minutes=10)
"""Interval of the check, and so its delay at most. Ended sessions need no due time of their own for it."""
AGAIN = timedelta(seconds=10)
MAX_ASKED = 100
"""Sessions read at once."""
MAX_READS = 10
"""Reads in one run; the rest follows `AGAIN` later."""


async def flag_overdue_captures(context: Context, lease: JobLease, *, at_once: int = MAX_ASKED) -> None:
    """Finds settlements with an overdue capture report and flags each once.

    A session that fails is skipped and delays no other. Raises when the database is away.
    """
    now = context.clock.now()
    failed, found, asked = 0, 0, 0
    for _ in range(MAX_READS):
        async with context.database.transaction() as connection:
            sessions = await overdue(connection, lease.operator_id, now, limit=at_once, offset=failed)
        done = [await _try_to_ask(context, session_id) for session_id in sessions]
        failed, found, asked = failed + done.count(False), len(done), asked + done.count(True)
        if found < at_once:
            break
    more = asked > 0 and found == at_once
    async with context.database.transaction() as connection:
        await jobs.release(connection, lease, now + (AGAIN if more else EVERY))


async def _try_to_ask(context: Context, session_id: SessionId) -> bool:
    try:
        await _ask(context, session_id)
    except Exception as error:
        if is_away(error):
            raise
        log.exception("capture_not_flagged", session_id=session_id)
        return False
    return True


@retry_on_serialization_failure
async def _ask(context: Context, session_id: SessionId) -> None:
    """Flags one session whose capture is not reported. Checked again with its row locked, since the report may have
    come meanwhile."""
    now = context.clock.now()
    async with context.database.transaction() as connection:
        before = await payment_sessions.lock(connection, session_id)
        if before is None:
            return
        session = await save(context, connection, before, flag_overdue(Change(before), now), now)
    if session != before:
        log.warning("capture_overdue", session_id=session_id, terminal_id=session.terminal_id)
