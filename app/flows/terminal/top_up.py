"""Adds a hold to a running session, which raises its limit."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.domain.limit.policy import Policy
from app.domain.session.holds import TermProblem, amount_problem, most_minor, top_up_time_problem
from app.domain.session.limit_checks import contradiction, limits_shown, other_currency
from app.domain.session.machine import Caller, Change, Source
from app.domain.session.payment_session import PaymentSession, Status, TopUp
from app.domain.session.states.journal import JournalKind
from app.domain.units.ids import SessionId
from app.domain.units.money import format_minor
from app.flows.context import Context, locked_session
from app.flows.saving import save
from app.store.db.connection import Connection
from app.store.db.database import retry_on_serialization_failure, wait_for_standby
from app.store.operators import currencies
from app.store.operators.terminals import Terminal
from app.store.sessions import holds, payment_sessions
from app.store.sessions.session_filter import SessionFilter

MAX_TOP_UPS = 20
LATE = frozenset({Status.STOPPING, Status.FINISHING, Status.COMPLETED, Status.NOT_STARTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class ToppedUp:
    session: PaymentSession
    replayed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreAuthorized:
    """A further hold as the terminal reports it, in the session's currency."""

    reference: str
    amount_minor: int
    expires_at: datetime | None = None


class TopUpRefused(Exception):
    """Nothing was recorded; the terminal releases the new hold. `session_id`: the session that has it, if any."""

    session_id: SessionId | None = None


class SessionEnded(TopUpRefused):
    """The end is decided, or has come. More money would pay for nothing."""


class ReferenceTaken(TopUpRefused):
    """The reference names another hold, or this one with another amount."""

    def __init__(self, why: str, session_id: SessionId | None = None) -> None:
        super().__init__(why)
        self.session_id = session_id


class CurrencyMismatch(TopUpRefused):
    """The session's holds and its charge differ in currency. Or the charge point changed it by now."""


class HoldNotTaken(TopUpRefused):
    """The hold's time or amount does not allow more charging."""

    def __init__(self, problem: TermProblem) -> None:
        super().__init__(problem.message)
        self.field = problem.field


class TopUpNotPossible(TopUpRefused):
    """The operator's policy does not allow the amount."""


@retry_on_serialization_failure
async def top_up(
    context: Context, terminal: Terminal, session_id: SessionId, more: MoreAuthorized
) -> ToppedUp:
    """Records one more hold, or finds the same call's earlier one. Wakes the watcher.

    The row's lock decides between this and a stop: whichever commits first is known to the other. So a stop that was
    decided refuses the top-up, and a top-up that was recorded counts for the next decision.

    Raises SessionUnknown, TopUpRefused.
    """
    now = context.clock.now()
    owner = SessionFilter(operator_id=terminal.operator_id, terminal_id=terminal.id)
    async with context.database.transaction() as connection:
        before = await locked_session(connection, session_id, owner)
        if await _known(connection, before, more):
            await wait_for_standby(connection)
            return ToppedUp(session=before, replayed=True)
        _check(before, more)
        _check_terms(before, more, now, context.policy)
        await _check_currency(connection, before, now)
        if not await holds.take(connection, before, more.reference, more.amount_minor, now):
            raise ReferenceTaken("this authorization reference was used before")
        session = await save(context, connection, before, _raised(before, more, now, terminal.key), now)
        await payment_sessions.wake(connection, session_id, now)
    return ToppedUp(session=session, replayed=False)


async def _known(connection: Connection, session: PaymentSession, more: MoreAuthorized) -> bool:
    """Whether this very hold was recorded before. Raises ReferenceTaken when its reference names another one."""
    known = await holds.find(connection, session.terminal_id, more.reference)
    if known is None:
        return False
    same = next((t for t in session.top_ups if t.reference == more.reference), None)
    if same is None or same.amount_minor != more.amount_minor:  # times are not part of its identity
        raise ReferenceTaken(
            "this authorization reference was used with other contents, or for another session",
            known.session_id,
        )
    return True


def _check(session: PaymentSession, more: MoreAuthorized) -> None:
    ending = session.stop_request is not None or session.stop is not None
    if ending or session.status in LATE or (session.charge is not None and session.charge.ended):
        raise SessionEnded("the payment session is ending or has ended; release the new hold")
    if len(session.top_ups) >= MAX_TOP_UPS:
        raise TopUpNotPossible(f"a payment session takes {MAX_TOP_UPS} top-ups at most")
    most, wanted = session.top_up_max_minor, session.authorized_minor + more.amount_minor
    if most is not None and wanted > most:
        currency, left_minor = session.authorization.currency, max(0, most - session.authorized_minor)
        raise TopUpNotPossible(
            f"the authorization may reach {format_minor(most, currency)} here,"
            f" so {format_minor(left_minor, currency)} more are possible at most"
        )


def _check_terms(session: PaymentSession, more: MoreAuthorized, now: datetime, policy: Policy) -> None:
    """Checks the hold's time, and the sum of all holds. Raises HoldNotTaken."""
    days = timedelta(days=policy.hold_days if session.hold_days is None else session.hold_days)
    currency = session.authorization.currency
    most = session.hold_max_minor or most_minor(currency, policy)
    wanted = session.authorized_minor + more.amount_minor
    problem = top_up_time_problem(more.expires_at, now, days) or amount_problem(wanted, most, currency)
    if problem is not None:
        raise HoldNotTaken(problem)


async def _check_currency(connection: Connection, session: PaymentSession, now: datetime) -> None:
    """Checks that the charge still runs in the holds' currency. Raises CurrencyMismatch."""
    held = session.authorization.currency
    other = other_currency(session, session.charge) if session.charge is not None else None
    if other is None and (session.charge is None or session.charge.currency is None):
        statements = await currencies.statements(
            connection, session.operator_id, session.charge_point_id, now
        )
        other = contradiction(held, statements)
    if other is not None:
        raise CurrencyMismatch(
            f"this payment session is in {held}, but the charge point charges in {other}; release the new hold"
        )


def _raised(session: PaymentSession, more: MoreAuthorized, now: datetime, by: Caller | None) -> Change:
    added = TopUp(
        reference=more.reference, amount_minor=more.amount_minor, at=now, expires_at=more.expires_at
    )
    change = Change(replace(session, top_ups=(*session.top_ups, added)), by=by)
    shown = limits_shown(change.session)
    return change.note(
        JournalKind.TOPPED_UP,
        Source.TERMINAL,
        reference=more.reference,
        amount_minor=more.amount_minor,
        authorized_minor=shown.own_limit_minor,
        monta_price_limit_minor=shown.monta_price_limit_minor,
        usable_minor=shown.usable_minor,
    )
