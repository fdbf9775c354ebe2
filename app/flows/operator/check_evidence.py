"""Examines the evidence of ended sessions in turns. A changed row is found though nobody looks."""

from datetime import datetime, timedelta

import structlog

from app.domain.evidence.verify import problems
from app.domain.session.attention import AttentionCode
from app.domain.session.machine import Change, Source
from app.domain.session.payment_session import PaymentSession
from app.domain.units.ids import OperatorId, SessionId
from app.flows.context import Context
from app.flows.evidence import evidence_of
from app.flows.saving import save
from app.store.db.database import is_away, retry_on_serialization_failure
from app.store.operators import operator_state
from app.store.operators.operator_state import EvidenceCheck
from app.store.sessions import payment_sessions
from app.store.sessions.session_filter import EVERY_SESSION, SessionFilter

log = structlog.get_logger("evidence")

EVERY = timedelta(hours=1)
AT_ONCE = 150
"""Sessions of one operator that a run goes through, 3,600 a day: from the newest to the oldest, then anew."""


async def check_evidence(context: Context, operator_id: OperatorId) -> None:
    """Goes on where the last run ended, once in EVERY. A session that does not fit needs attention.

    A session that fails is skipped. Raises when the database is away.
    """
    now = context.clock.now()
    async with context.database.read() as connection:
        last = await operator_state.evidence_check(connection, operator_id)
        if last.at is not None and now < last.at + EVERY:
            return
        wanted = SessionFilter(operator_id=operator_id)
        sessions = await payment_sessions.find(connection, wanted, limit=AT_ONCE, before=last.position)
    for session in sessions:
        if session.ended:
            await _try_to_check(context, session.id)
    position = _position(sessions[-1]) if len(sessions) == AT_ONCE else None
    async with context.database.transaction() as connection:
        await operator_state.note_evidence_check(connection, operator_id, EvidenceCheck(now, position))


def _position(session: PaymentSession) -> tuple[datetime, str]:
    return session.created_at, session.id


async def _try_to_check(context: Context, session_id: SessionId) -> None:
    try:
        if await _problem(context, session_id) is not None:
            await _flag(context, session_id)
    except Exception as error:
        if is_away(error):
            raise
        log.exception("evidence_not_examined", session_id=session_id)


async def _problem(context: Context, session_id: SessionId) -> str | None:
    """The first thing that does not fit. None: nothing was changed."""
    bundle = await evidence_of(context, session_id, EVERY_SESSION, with_deliveries=False)
    return next(iter(problems(bundle)), None)


@retry_on_serialization_failure
async def _flag(context: Context, session_id: SessionId) -> None:
    """Raises attention, once. Examined again with its row locked, since it may just have been changed by us."""
    async with context.database.transaction() as connection:
        before = await payment_sessions.lock(connection, session_id)
        why = await _problem(context, session_id)
        if before is None or why is None:
            return
        change = Change(before).raise_attention(AttentionCode.SEAL_DOES_NOT_FIT, why, Source.WATCHER)
        if change.lines:
            log.error("evidence_does_not_fit", session_id=session_id, why=why)
            await save(context, connection, before, change, context.clock.now())
