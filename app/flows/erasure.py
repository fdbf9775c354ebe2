"""Erases cards and metadata of sessions. On request, and of old sessions in small batches."""

from datetime import timedelta

import structlog

from app.domain.evidence.erasure import erased, is_personal
from app.domain.session.machine import Change, Source
from app.domain.session.payment_session import PaymentSession
from app.domain.units.ids import OperatorId
from app.flows.context import Context
from app.flows.saving import save
from app.store.db.connection import Connection
from app.store.db.database import retry_on_serialization_failure
from app.store.events import outbox
from app.store.operators import orphans
from app.store.sessions import payment_sessions, personal_data

log = structlog.get_logger("erasure")

AT_ONCE = 100
MOST_BATCHES = 20
"""Batches of one run; the next run goes on."""


async def erase(
    context: Context, connection: Connection, before: PaymentSession, change: Change, source: Source
) -> PaymentSession:
    """Erases a locked session's personal data, in document and columns, with the events that show it."""
    now = context.clock.now()
    saved = await save(context, connection, before, erased(change, source, now), now)
    await personal_data.clear(connection, [saved.id])
    await outbox.forget_sessions(connection, [saved.id])
    return saved


async def erase_old(context: Context, operator_id: OperatorId) -> None:
    """Erases cards and metadata of an operator's old sessions. Of those that were recorded more than `card_days` ago
    and are over."""
    count = 0
    for _ in range(MOST_BATCHES):
        done = await _batch(context, operator_id)
        count += done
        if done < AT_ONCE:
            break
    if count:
        log.info("cards_erased", operator_id=operator_id, sessions=count)


@retry_on_serialization_failure
async def _batch(context: Context, operator_id: OperatorId) -> int:
    before_at = context.clock.now() - timedelta(days=context.card_days)
    async with context.database.transaction() as connection:
        await orphans.forget_cards(connection, operator_id, before_at)
        found = await personal_data.of_old_sessions(connection, operator_id, before_at, limit=AT_ONCE)
        for session_id in found:
            before = await payment_sessions.lock(connection, session_id)
            if before is not None and is_personal(before):
                await erase(context, connection, before, Change(before), Source.WATCHER)
            else:
                await personal_data.clear(connection, [session_id])
    return len(found)
