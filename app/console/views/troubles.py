"""Says what is wrong with a session beyond its attention items. As the data are now, with what to do."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from app.console.views.formats import duration, moment, money, words
from app.domain.limit.policy import Policy
from app.domain.reconciliation.balance import PspReport
from app.domain.reconciliation.differences import (
    MEANINGS,
    WHAT_TO_DO,
    Difference,
    DifferenceKind,
    differences,
)
from app.domain.session.attention import AttentionCode, Severity, row_of
from app.domain.session.holds import hold_deadline
from app.domain.session.payment_session import PaymentSession, Status
from app.domain.session.settlement import CaptureOutcome, SettlementStatus
from app.domain.units.frozen import frozen
from app.flows.console.health import OVERDUE_AFTER, UNCONFIRMED_AFTER
from app.flows.console.session import SessionRead
from app.store.sessions.running import DueWork
from app.store.sessions.settlements import Capture

HARMLESS = frozenset({DifferenceKind.ROUNDING, DifferenceKind.SETTLED_BY_HAND})
EXPIRES_SOON = timedelta(hours=2)


@frozen(kw_only=True)
class Trouble:
    """One thing that is wrong: what, since when or how much, and what to do."""

    title: str
    severity: Severity
    detail: str
    action: str


def troubles_of(read: SessionRead, policy: Policy) -> list[Trouble]:
    """Returns what is wrong now and no attention item says, critical things first."""
    said = {item.code for item in read.session.attention}
    found = [
        *_journal(read),
        *_stop(read, said),
        *_hold(read, policy, said),
        *_work(read),
        *_money(read, policy),
    ]
    return sorted(found, key=lambda trouble: list(Severity).index(trouble.severity))


def _journal(read: SessionRead) -> Iterator[Trouble]:
    if read.broken is not None:
        yield Trouble(
            title="The journal was changed",
            severity=Severity.CRITICAL,
            detail=read.broken,
            action="Trust no line of it. Compare `tapwatt session evidence` with an earlier bundle or a backup,"
            " and find out who can change the database.",
        )


def _stop(read: SessionRead, said: set[str]) -> Iterator[Trouble]:
    session, code = read.session, AttentionCode.STOP_UNCONFIRMED
    stop = session.stop if session.status is Status.STOPPING else None
    if stop is None or stop.confirmed_at is not None or code in said:
        return
    passed = read.now - stop.decided_at
    if passed >= UNCONFIRMED_AFTER:
        yield Trouble(
            title="The stop is not confirmed",
            severity=Severity.CRITICAL,
            detail=f"decided {duration(passed)} ago, {stop.attempts} calls",
            action=row_of(code).action,
        )


def _hold(read: SessionRead, policy: Policy, said: set[str]) -> Iterator[Trouble]:
    session, code = read.session, AttentionCode.HOLD_EXPIRING
    until = hold_until(session, policy)
    if until is None or code in said or until - read.now > EXPIRES_SOON:
        return
    left = until - read.now
    yield Trouble(
        title="The hold expires soon" if left > timedelta() else "The hold has expired",
        severity=Severity.CRITICAL,
        detail=f"valid until {moment(until)} UTC",
        action=row_of(code).action
        if session.settlement is None
        else row_of(AttentionCode.CAPTURE_OVERDUE).action,
    )


def hold_until(session: PaymentSession, policy: Policy) -> datetime | None:
    """Until when the hold is good. None: nothing is open any more."""
    settled = session.settlement
    if settled is None:
        return None if session.ended else hold_deadline(session, policy)
    return None if settled.status is SettlementStatus.CONFIRMED else settled.deadline


def _work(read: SessionRead) -> Iterator[Trouble]:
    work = read.work
    if work is not None and work.due_at < read.now - OVERDUE_AFTER:
        yield Trouble(
            title="Work is overdue",
            severity=Severity.CRITICAL,
            detail=f"due {duration(read.now - work.due_at)} ago, {held_words(work, read.now)}",
            action="See on Health whether watchers run, and start another one. If this session alone is late,"
            " the watcher's log says why; closing the session ends it.",
        )


def held_words(work: DueWork, now: datetime) -> str:
    """Says which watcher holds due work."""
    if work.lease_owner is None or work.lease_until is None:
        return "no watcher has taken it"
    if work.lease_until > now:
        return f"watcher {work.lease_owner} works on it"
    return f"watcher {work.lease_owner} left it; its lease ended {duration(now - work.lease_until)} ago"


def _money(read: SessionRead, policy: Policy) -> Iterator[Trouble]:
    session = read.session
    for each in differences_of(session, read.captures, policy, read.now):
        at_stake = money(abs(each.amount_minor), session.authorization.currency)
        who = "the operator lacks it" if each.amount_minor > 0 else "the driver paid it"
        stake = f"; {at_stake}: {who}" if each.amount_minor else ""
        yield Trouble(
            title=f"{words(each.kind).capitalize()}: {MEANINGS[each.kind]}",
            severity=Severity.INFO if each.kind in HARMLESS else Severity.WARNING,
            detail=f"{each.detail}{stake}",
            action=WHAT_TO_DO[each.kind],
        )


def differences_of(
    session: PaymentSession, captures: Sequence[Capture], policy: Policy, now: datetime
) -> Sequence[Difference]:
    """How hold, capture and Monta's price differ, by what the PSP did."""
    reports = [
        PspReport(
            outcome=CaptureOutcome(each.outcome),
            amount_minor=each.amount_minor,
            reported_at=each.reported_at,
            reference=each.reference,
        )
        for each in captures
    ]
    return differences(session, reports, policy, now)
