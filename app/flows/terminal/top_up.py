"""Adds a hold to a running session, or changes one in place: its limit moves."""

from datetime import datetime, timedelta

from app.domain.limit.policy import Policy
from app.domain.session.holds import (
    TermProblem,
    amount_problem,
    changed_time_problem,
    most_minor,
    top_up_time_problem,
)
from app.domain.session.limit_checks import contradiction, limits_shown, other_currency
from app.domain.session.machine import Caller, Change, Source
from app.domain.session.payment_session import Held, PaymentSession, Status, TopUp
from app.domain.session.states.changed_hold import (
    MAX_CHANGES,
    held,
    is_too_small,
    may_use_more,
    with_changed,
)
from app.domain.session.states.journal import JournalKind
from app.domain.units.frozen import frozen, replace
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
FIELD = "amount_total"
UNKNOWN = TermProblem("reference", "names no hold of this payment session; send amount for a new one")
TOO_SMALL = TermProblem(FIELD, "is too small: Monta takes no limit as low; keep a higher hold")


LATE = frozenset({Status.STOPPING, Status.FINISHING, Status.COMPLETED, Status.NOT_STARTED})


@frozen(kw_only=True)
class ToppedUp:
    session: PaymentSession
    replayed: bool


@frozen(kw_only=True)
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

    def __init__(self, why: str, field: str) -> None:
        super().__init__(why)
        self.field = field


class HoldNotTaken(TopUpRefused):
    """The hold's time or amount does not allow more charging."""

    def __init__(self, problem: TermProblem) -> None:
        super().__init__(problem.message)
        self.field = problem.field


class TopUpNotPossible(TopUpRefused):
    """The operator's policy does not allow the amount."""


class BelowUsed(TopUpRefused):
    """The charge may already have used more than the holds would come to."""


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
        _check_running(before, "release the new hold")
        _check_terms(before, more, now, context.policy)
        _check_total(before, before.authorized_minor + more.amount_minor, context.policy)
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


def _check_running(session: PaymentSession, to_do: str) -> None:
    """Checks that the end is not decided. `to_do`: what the terminal does then. Raises SessionEnded."""
    ending = session.stop_request is not None or session.stop is not None
    if ending or session.status in LATE or (session.charge is not None and session.charge.ended):
        raise SessionEnded(f"the payment session is ending or has ended; {to_do}")


def _check_terms(session: PaymentSession, more: MoreAuthorized, now: datetime, policy: Policy) -> None:
    """Checks the number of holds, and the new one's time. Raises TopUpNotPossible, HoldNotTaken."""
    if len(session.top_ups) >= MAX_TOP_UPS:
        raise TopUpNotPossible(f"a payment session takes {MAX_TOP_UPS} top-ups at most")
    days = timedelta(days=policy.hold_days if session.hold_days is None else session.hold_days)
    problem = top_up_time_problem(more.expires_at, now, days)
    if problem is not None:
        raise HoldNotTaken(problem)


def _check_total(
    session: PaymentSession, wanted_minor: int, policy: Policy, *, field: str = "amount"
) -> None:
    """Checks what all holds would come to against the operator's policy. Raises TopUpNotPossible, HoldNotTaken."""
    most, currency = session.top_up_max_minor, session.authorization.currency
    if most is not None and wanted_minor > most:
        left_minor = max(0, most - session.authorized_minor)
        raise TopUpNotPossible(
            f"the authorization may reach {format_minor(most, currency)} here,"
            f" so {format_minor(left_minor, currency)} more are possible at most"
        )
    problem = amount_problem(wanted_minor, session.hold_max_minor or most_minor(currency, policy), currency)
    if problem is not None:
        raise HoldNotTaken(replace(problem, field=field))


async def _check_currency(
    connection: Connection, session: PaymentSession, now: datetime, *, field: str = "amount"
) -> None:
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
            f"this payment session is in {held}, but the charge point charges in {other}; release the new hold",
            field,
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


@frozen(kw_only=True)
class TotalAuthorized:
    """What a hold comes to since the PSP changed it, as the terminal reports it. In the session's currency."""

    reference: str
    amount_minor: int
    expires_at: datetime | None = None


@frozen
class _Edit:
    """A session whose hold gets another total."""

    before: PaymentSession
    hold: Held
    after: PaymentSession


@retry_on_serialization_failure
async def change_hold(
    context: Context, terminal: Terminal, session_id: SessionId, total: TotalAuthorized
) -> ToppedUp:
    """Records a hold's new total, or finds that it is recorded. Wakes the watcher, which plans the stop anew.

    A lower total is recorded only where a stop from now on still keeps the charge within it, whatever flows.

    Raises SessionUnknown, TopUpRefused.
    """
    now = context.clock.now()
    owner = SessionFilter(operator_id=terminal.operator_id, terminal_id=terminal.id)
    async with context.database.transaction() as connection:
        before = await locked_session(connection, session_id, owner)
        hold = held(before, total.reference)
        if hold is None:
            raise HoldNotTaken(UNKNOWN)
        if hold.present_minor == total.amount_minor:  # times are not part of its identity
            await wait_for_standby(connection)
            return ToppedUp(session=before, replayed=True)
        _check_running(before, "the hold stays as it was")
        edit = _Edit(before, hold, with_changed(before, hold, total.amount_minor, total.expires_at))
        _check_new_terms(edit, total, now, context.policy)
        _check_new_total(edit, total, now, context.policy)
        await _check_currency(connection, before, now, field=FIELD)
        session = await save(context, connection, before, _changed(edit, terminal.key), now)
        lowered = session.authorized_minor < before.authorized_minor
        await payment_sessions.wake(connection, session_id, now, for_stop=lowered)
    return ToppedUp(session=session, replayed=False)


def _check_new_terms(edit: _Edit, total: TotalAuthorized, now: datetime, policy: Policy) -> None:
    """Checks the number of changes, and the hold's end where one was sent. Raises TopUpNotPossible, HoldNotTaken."""
    if edit.hold.change is not None and edit.hold.change.count >= MAX_CHANGES:
        raise TopUpNotPossible(f"a hold may be raised and lowered {MAX_CHANGES} times at most")
    if total.expires_at is None:
        return
    problem = changed_time_problem(edit.after, total.reference, now, policy)
    if problem is not None:
        raise HoldNotTaken(problem)


def _check_new_total(edit: _Edit, total: TotalAuthorized, now: datetime, policy: Policy) -> None:
    """Checks a higher total against the operator's policy, a lower one against what may be used. Raises
    TopUpNotPossible, HoldNotTaken, BelowUsed."""
    if total.amount_minor > edit.hold.present_minor:
        _check_total(edit.before, edit.after.authorized_minor, policy, field=FIELD)
    elif is_too_small(edit.after, policy):
        raise HoldNotTaken(TOO_SMALL)
    elif may_use_more(edit.after, policy, now):
        raise BelowUsed("the charge may already have used more; keep the hold as it was")


def _changed(edit: _Edit, by: Caller | None) -> Change:
    shown, hold = limits_shown(edit.after), held(edit.after, edit.hold.reference)
    ends_at = None if hold is None else hold.ends_at
    return Change(edit.after, by=by).note(
        JournalKind.HOLD_CHANGED,
        Source.TERMINAL,
        reference=edit.hold.reference,
        amount_minor=None if hold is None else hold.present_minor,
        before_minor=edit.hold.present_minor,
        expires_at=None if ends_at is None else ends_at.isoformat(timespec="seconds"),
        authorized_minor=shown.own_limit_minor,
        monta_price_limit_minor=shown.monta_price_limit_minor,
        usable_minor=shown.usable_minor,
    )
