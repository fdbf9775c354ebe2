"""Settles or closes a session by an amount that operations decide."""

from app.domain.session.machine import Caller, Change
from app.domain.session.payment_session import PaymentSession
from app.domain.session.settle import closed_by_person, may_be_settled_by_person, settle_by_person
from app.domain.session.settlement import Settlement, SettlementBasis
from app.domain.units.ids import SessionId
from app.flows.context import Context, locked_session
from app.flows.saving import save
from app.store.db.database import retry_on_serialization_failure, wait_for_standby
from app.store.sessions import payment_sessions
from app.store.sessions.session_filter import SessionFilter


class NotEnded(Exception):
    """The charge has not ended: its amount cannot be decided yet."""


class AlreadySettled(Exception):
    """It was settled with another amount; a settlement is never changed."""


class AlreadyEnded(Exception):
    """The session has ended, and not by this very call."""


class AboveAuthorized(Exception):
    """More than was authorized can never be captured."""


@retry_on_serialization_failure
async def settle_manually(
    context: Context,
    session_id: SessionId,
    owner: SessionFilter,
    *,
    amount_minor: int,
    reason: str,
    by: Caller,
) -> PaymentSession:
    """Settles an ended charge by operations' amount, cut to the authorization. Idempotent by amount.

    Raises SessionUnknown, NotEnded, AlreadySettled.
    """
    now = context.clock.now()
    async with context.database.transaction() as connection:
        before = await locked_session(connection, session_id, owner)
        if before.settlement is not None:
            settled = before.settlement
            if settled.to_capture_minor + settled.shortfall_minor == amount_minor:
                return before
            raise AlreadySettled("this payment session is settled, and a settlement is never changed")
        if not may_be_settled_by_person(before):
            raise NotEnded("the charge has not ended; stop it first, and wait until the session is finishing")
        change = settle_by_person(Change(before, by=by), amount_minor, reason, now=now, policy=context.policy)
        session = await save(context, connection, before, change, now)
        await payment_sessions.wake(connection, session_id, now)
    return session


@retry_on_serialization_failure
async def close_manually(
    context: Context,
    session_id: SessionId,
    owner: SessionFilter,
    *,
    amount_minor: int,
    reason: str,
    by: Caller,
) -> PaymentSession:
    """Ends a session in any state by operations' amount. Stops its charge if one may run. Idempotent.

    Raises SessionUnknown, AlreadyEnded, AboveAuthorized.
    """
    now = context.clock.now()
    async with context.database.transaction() as connection:
        before = await locked_session(connection, session_id, owner)
        if before.ended:
            if not _decided_so(before.settlement, amount_minor):
                raise AlreadyEnded("this payment session has ended, and its settlement is never changed")
            await wait_for_standby(connection)
            return before
        if amount_minor > before.authorized_minor:
            raise AboveAuthorized("must not be more than what was authorized")
        change = closed_by_person(Change(before, by=by), amount_minor, reason, now=now, policy=context.policy)
        session = await save(context, connection, before, change, now)
        await payment_sessions.wake(connection, session_id, now)
    return session


def _decided_so(settlement: Settlement | None, amount_minor: int) -> bool:
    """Whether operations have decided on this amount before."""
    if settlement is None or settlement.basis is not SettlementBasis.PERSON:
        return False
    return settlement.to_capture_minor + settlement.shortfall_minor == amount_minor
