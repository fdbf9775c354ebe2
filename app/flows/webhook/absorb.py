"""Applies kept readings to their sessions beside deliveries, where there are many."""

import asyncio
from collections.abc import Collection

import structlog

from app.domain.units.ids import OperatorId, SessionId
from app.flows.context import Context
from app.flows.ingest import apply_kept
from app.flows.keep_delivery import LOCK_MS
from app.store.db.database import DATABASE_ERRORS, retry_on_serialization_failure
from app.store.db.scope import limited_to

log = structlog.get_logger("webhook")

AT_ONCE = 4
"""Sessions in one transaction, some milliseconds: deliveries about the same sessions wait for it."""
MOST_PAUSE_S = 0.1
"""A transaction follows the one before after as long as that took, and after this at most: deliveries have half of the
process's time at least."""


async def keep_absorbing(context: Context) -> None:
    """Applies kept readings of sessions that have many, until it is cancelled.

    Where that fails, the session's next reading tries it again, and the last one that may be kept applies them all.
    """
    while True:
        operator_id, session_ids = await context.deliveries.filling.next(AT_ONCE)
        began_s = context.clock.monotonic()
        try:
            with limited_to(operator_id):
                await absorb(context, operator_id, session_ids)
        except DATABASE_ERRORS as error:
            log.warning("kept_readings_not_applied", operator_id=operator_id, error=type(error).__name__)
        except Exception:
            log.exception("kept_readings_not_applied", operator_id=operator_id)
        await asyncio.sleep(min(context.clock.monotonic() - began_s, MOST_PAUSE_S))


@retry_on_serialization_failure
async def absorb(context: Context, operator_id: OperatorId, session_ids: Collection[SessionId]) -> None:
    """Applies what is kept beside these sessions, in one transaction."""
    now = context.clock.now()
    async with context.database.transaction(lock_ms=LOCK_MS) as connection:
        await apply_kept(context, connection, operator_id, session_ids, now)
