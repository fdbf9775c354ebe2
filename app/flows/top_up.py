"""One more hold on a running session: the limit rises, unless the end has been decided."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.domain.change import Change, Source
from app.domain.currency import contradiction, other_currency
from app.domain.guards_shown import guards_shown
from app.domain.hold_terms import TermProblem, amount_problem, most_minor, top_up_time_problem
from app.domain.ids import SessionId
from app.domain.payment_session import PaymentSession, Status, TopUp
from app.domain.policy import Policy
from app.flows.tools import Tools
from app.store import currencies, holds, payment_sessions
from app.store.conflicts import again_after_conflict
from app.store.database import Connection, outlive_the_primary
from app.store.terminals import Terminal

MAX_TOP_UPS = 20
LATE = frozenset({Status.STOPPING, Status.FINISHING, Status.COMPLETED, Status.NOT_STARTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class ToppedUp:
    session: PaymentSession
    replayed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreAuthorized:
    """What a terminal says: so much more is held for this session, in its currency."""

    reference: str
    amount_minor: int
    expires_at: datetime | None = None


class TopUpRefused(Exception):
    """Nothing was recorded; the terminal releases the new hold. `session_id`: of the session that has it, if any."""

    session_id: SessionId | None = None


class NoSuchSession(TopUpRefused):
    """There is no such session, or it is another terminal's."""


class SessionEnded(TopUpRefused):
    """The end is decided, or has come: more money would pay for nothing."""


class ReferenceTaken(TopUpRefused):
    """The reference names another hold, or this one with another amount."""

    def __init__(self, why: str, session_id: SessionId | None = None) -> None:
        super().__init__(why)
        self.session_id = session_id


class CurrencyMismatch(TopUpRefused):
    """The session's holds are in another currency than the charge, or than the charge point has by now."""


class HoldNotTaken(TopUpRefused):
    """The time or the amount of the hold is not one that a charge goes on for."""

    def __init__(self, problem: TermProblem) -> None:
        super().__init__(problem.message)
        self.field = problem.field


class TopUpNotPossible(TopUpRefused):
    """The operator's policy does not allow that much."""


@again_after_conflict
async def top_up(tools: Tools, terminal: Terminal, session_id: SessionId, more: MoreAuthorized) -> ToppedUp:
    """Record one more hold and wake the watcher, or find the one that the same call recorded before.

    The row's lock decides between this and a stop: whichever commits first is known to the other. So a stop that was
    decided refuses the top-up, and a top-up that was recorded counts for the next decision. Raises TopUpRefused.
    """
    now = tools.clock.now()
    owner = payment_sessions.of_terminal(terminal.id)
    async with tools.database.transaction() as connection:
        if await payment_sessions.get(connection, session_id, owner) is None:
            raise NoSuchSession
        before = await payment_sessions.lock(connection, session_id)
        if before is None:
            raise NoSuchSession
        if await _known(connection, before, more):
            await outlive_the_primary(connection)
            return ToppedUp(session=before, replayed=True)
        _check(before, more)
        _check_terms(before, more, now, tools.policy)
        await _check_currency(connection, before, now)
        if not await holds.take(connection, before, more.reference, more.amount_minor, now):
            raise ReferenceTaken("this authorization reference was used before")
        session = await payment_sessions.save(connection, before, _raised(before, more, now), now)
        await payment_sessions.wake(connection, session_id, now)
    return ToppedUp(session=session, replayed=False)


async def _known(connection: Connection, session: PaymentSession, more: MoreAuthorized) -> bool:
    """Whether this very hold was recorded before; raises ReferenceTaken when its reference names another one."""
    known = await holds.find(connection, session.terminal_id, more.reference)
    if known is None:
        return False
    same = next((t for t in session.top_ups if t.reference == more.reference), None)
    if same is None or same.amount_minor != more.amount_minor:  # times are no part of what makes it the same
        raise ReferenceTaken(
            "this authorization reference was used with other contents, or for another session",
            known.session_id,
        )
    return True


def _check(session: PaymentSession, more: MoreAuthorized) -> None:
    ending = session.wish is not None or session.stop is not None
    if ending or session.status in LATE or (session.charge is not None and session.charge.ended):
        raise SessionEnded("the payment session is ending or has ended; release the new hold")
    if len(session.top_ups) >= MAX_TOP_UPS:
        raise TopUpNotPossible(f"a payment session takes {MAX_TOP_UPS} top-ups at most")
    most, wanted = session.top_up_max_minor, session.reserved_minor + more.amount_minor
    if most is not None and wanted > most:
        room = max(0, most - session.reserved_minor)
        raise TopUpNotPossible(
            f"the reservation may reach {most} minor units here, so {room} more are possible at most"
        )


def _check_terms(session: PaymentSession, more: MoreAuthorized, now: datetime, policy: Policy) -> None:
    """All holds of a session count together. Raises HoldNotTaken."""
    days = timedelta(days=policy.hold_days if session.hold_days is None else session.hold_days)
    currency = session.authorization.currency
    most = session.hold_max_minor or most_minor(currency, policy)
    wanted = session.reserved_minor + more.amount_minor
    problem = top_up_time_problem(more.expires_at, now, days) or amount_problem(wanted, most)
    if problem is not None:
        raise HoldNotTaken(problem)


async def _check_currency(connection: Connection, session: PaymentSession, now: datetime) -> None:
    """No more money for a charge that this currency does not pay for. Raises CurrencyMismatch."""
    held = session.authorization.currency
    other = other_currency(session, session.charge) if session.charge is not None else None
    if other is None and (session.charge is None or session.charge.currency is None):
        words = await currencies.told(connection, session.operator_id, session.charge_point_id, now)
        other = contradiction(held, words)
    if other is not None:
        raise CurrencyMismatch(
            f"this payment session is in {held}, but the charge point charges in {other}; release the new hold"
        )


def _raised(session: PaymentSession, more: MoreAuthorized, now: datetime) -> Change:
    added = TopUp(
        reference=more.reference, amount_minor=more.amount_minor, at=now, expires_at=more.expires_at
    )
    change = Change(replace(session, top_ups=(*session.top_ups, added)))
    shown = guards_shown(change.session)
    return change.note(
        "topped_up",
        Source.TERMINAL,
        reference=more.reference,
        amount_minor=more.amount_minor,
        reserved_minor=shown.own_limit_minor,
        monta_price_limit_minor=shown.monta_price_limit_minor,
        usable_minor=shown.usable_minor,
    )
