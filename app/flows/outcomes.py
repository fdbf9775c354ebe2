"""Outcomes that nobody tells: a terminal was away for so long that a person must see to its hold before it expires."""

from datetime import timedelta

import structlog

from app.domain.change import Change
from app.domain.ids import SessionId
from app.domain.outcome import unheard
from app.flows.tools import Tools
from app.store import duties, payment_sessions, settlement_rows
from app.store.conflicts import again_after_conflict
from app.store.database import is_away
from app.store.duties import DutyLease

log = structlog.get_logger("outcomes")

EVERY = timedelta(minutes=10)
"""So late at most a person is asked; ended sessions need no due time of their own for it, and cost nothing."""
AGAIN = timedelta(seconds=10)
MAX_ASKED = 100
"""Read at once."""
MAX_READS = 10
"""In one go; the others follow `AGAIN` later."""


async def ask_for_outcomes(tools: Tools, lease: DutyLease, *, at_once: int = MAX_ASKED) -> None:
    """1. Find what was settled long ago without word of its outcome. 2. Ask a person, session by session, once.

    A session that cannot be asked about is passed over and holds up no other. Raises when the database is away.
    """
    now = tools.clock.now()
    failed, found, asked = 0, 0, 0
    for _ in range(MAX_READS):
        async with tools.database.transaction() as connection:
            sessions = await settlement_rows.unheard(
                connection, lease.operator_id, now, limit=at_once, offset=failed
            )
        done = [await _try_to_ask(tools, session_id) for session_id in sessions]
        failed, found, asked = failed + done.count(False), len(done), asked + done.count(True)
        if found < at_once:
            break
    more = asked > 0 and found == at_once
    async with tools.database.transaction() as connection:
        await duties.give_back(connection, lease, now + (AGAIN if more else EVERY))


async def _try_to_ask(tools: Tools, session_id: SessionId) -> bool:
    try:
        await _ask(tools, session_id)
    except Exception as error:
        if is_away(error):
            raise
        log.exception("outcome_not_asked_for", session_id=session_id)
        return False
    return True


@again_after_conflict
async def _ask(tools: Tools, session_id: SessionId) -> None:
    """The outcome may have come since it was looked for: the domain decides with the row locked."""
    now = tools.clock.now()
    async with tools.database.transaction() as connection:
        before = await payment_sessions.lock(connection, session_id)
        if before is None:
            return
        session = await payment_sessions.save(connection, before, unheard(Change(before), now), now)
    if session != before:
        log.warning("outcome_unheard", session_id=session_id, terminal_id=session.terminal_id)
