"""Records a stop request of a terminal, a card or operations. The watcher carries it out."""

from collections.abc import Sequence

from app.domain.session.machine import Caller, Change, Source
from app.domain.session.payment_session import PaymentSession, Status, StopReason, StopRequest
from app.domain.session.states.journal import JournalKind
from app.domain.units.frozen import frozen, replace
from app.domain.units.ids import ChargePointId, SessionId
from app.flows.context import Context, SessionUnknown, locked_session
from app.flows.saving import save
from app.store.db.database import retry_on_serialization_failure, wait_for_standby
from app.store.operators.terminals import Terminal
from app.store.sessions import payment_sessions
from app.store.sessions.session_filter import CardTokens, SessionFilter


class NoRunningSession(SessionUnknown):
    """No session of this card is running at this terminal."""


class SeveralSessions(Exception):
    """Several sessions of one card run, and none was named. The request does not say which is meant."""

    def __init__(self, sessions: Sequence[PaymentSession]) -> None:
        super().__init__("several sessions of this card are running; name the charge point of one")
        self.sessions = sessions


STOPPABLE = frozenset({Status.AUTHORIZED, Status.STARTING, Status.CHARGING})
MAX_OF_ONE_CARD = 50


@frozen(kw_only=True)
class ShownCard:
    """A card's tokens, and where it was shown. One of its tokens or both, and the charge point."""

    fingerprint: str | None = None
    account_reference: str | None = None
    charge_point_id: ChargePointId | None = None


@retry_on_serialization_failure
async def request_stop(
    context: Context,
    session_id: SessionId,
    owner: SessionFilter,
    *,
    reason: StopReason,
    note: str | None = None,
    by: Caller | None = None,
) -> PaymentSession:
    """Records a stop request. The watcher carries it out once the start is resolved. Repeating changes nothing."""
    now = context.clock.now()
    async with context.database.transaction(urgent=True) as connection:
        before = await locked_session(connection, session_id, owner)
        if before.ended or before.stop_request is not None:
            await wait_for_standby(connection)
            return before
        source = Source.OPERATIONS if reason is StopReason.OPERATIONS else Source.TERMINAL
        change = Change(replace(before, stop_request=StopRequest(reason=reason, at=now, note=note)), by=by)
        change = change.note(JournalKind.STOP_REQUESTED, source, reason=reason, note=note)
        session = await save(context, connection, before, change, now)
        await payment_sessions.wake(connection, session_id, now, for_stop=True)
    return session


async def stop_by_card(context: Context, terminal: Terminal, card: ShownCard) -> PaymentSession:
    """Stops the session of a card shown again. At this terminal.

    Sessions that are ending already count only when no other runs, so that a repeated call finds what the first one
    stopped. Raises NoRunningSession, SeveralSessions.
    """
    owner = SessionFilter(operator_id=terminal.operator_id, terminal_id=terminal.id)
    tokens = CardTokens(fingerprint=card.fingerprint, account_reference=card.account_reference)
    wanted = replace(owner, card=tokens, charge_point_id=card.charge_point_id, active=True)
    async with context.database.read(urgent=True) as connection:
        found = await payment_sessions.find(connection, wanted, limit=MAX_OF_ONE_CARD)
    if not found:
        raise NoRunningSession
    running = [s for s in found if s.status in STOPPABLE and s.stop_request is None]
    if len(running) > 1:
        raise SeveralSessions(running)
    return await request_stop(
        context, (running or found)[0].id, owner, reason=StopReason.DRIVER, by=terminal.key
    )
