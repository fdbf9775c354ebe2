"""Adds up a day's sessions by terminal and currency. Orders what differs."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from zoneinfo import ZoneInfo

from app.domain.limit.policy import Policy
from app.domain.reconciliation.balance import Balance, PspReport, balance
from app.domain.reconciliation.differences import Difference, differences
from app.domain.session.payment_session import PaymentSession
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId, SessionId, TerminalId


@frozen(kw_only=True)
class ReconciledSession:
    """One session's money and how its three sides differ."""

    session: PaymentSession
    reports: tuple[PspReport, ...]
    balance: Balance
    differences: tuple[Difference, ...]

    @property
    def session_id(self) -> SessionId:
        return self.session.id

    @property
    def at_stake_minor(self) -> int:
        return sum(abs(d.amount_minor) for d in self.differences)


@frozen(kw_only=True)
class Totals:
    """Sums of one terminal in one currency; `authorized + above = captured + released + open`."""

    operator_id: OperatorId
    terminal_id: TerminalId
    currency: str
    sessions: int
    differing: int
    authorized_minor: int
    captured_minor: int
    released_minor: int
    open_minor: int
    above_minor: int
    settled_minor: int
    monta_minor: int


@frozen(kw_only=True)
class DayReport:
    """A day's sessions, by the local day of their authorization. A session belongs to that day for ever."""

    day: date
    as_of: datetime
    sessions: tuple[ReconciledSession, ...]
    totals: tuple[Totals, ...]

    @property
    def differing(self) -> list[ReconciledSession]:
        """Sessions with a difference, the largest amounts at stake first."""
        found = [s for s in self.sessions if s.differences]
        return sorted(found, key=lambda s: (-s.at_stake_minor, s.session_id))


def utc_window(day: date) -> tuple[datetime, datetime]:
    """Returns when it is this day anywhere on Earth. From its first to its last moment."""
    start = datetime.combine(day, time(), UTC)
    return start - timedelta(hours=14), start + timedelta(hours=36)


def is_of_day(session: PaymentSession, day: date) -> bool:
    """Whether the session was authorized on this day at its place."""
    return session.created_at.astimezone(ZoneInfo(session.time_zone)).date() == day


def reconciled(
    session: PaymentSession, reports: Sequence[PspReport], policy: Policy, now: datetime
) -> ReconciledSession:
    """Compares one session's three sides as of `now`."""
    return ReconciledSession(
        session=session,
        reports=tuple(reports),
        balance=balance(session, reports),
        differences=differences(session, reports, policy, now),
    )


def day_report(day: date, found: Iterable[ReconciledSession], now: datetime) -> DayReport:
    """Adds up the sessions that are given, ordered by terminal and time."""
    sessions = sorted(found, key=lambda s: (*_account(s), s.session.created_at, s.session_id))
    totals = [_total(list(group)) for _, group in groupby(sessions, key=_account)]
    return DayReport(day=day, as_of=now, sessions=tuple(sessions), totals=tuple(totals))


def _account(found: ReconciledSession) -> tuple[OperatorId, TerminalId, str]:
    return found.session.operator_id, found.session.terminal_id, found.balance.currency


def _total(group: Sequence[ReconciledSession]) -> Totals:
    operator_id, terminal_id, currency = _account(group[0])
    sums = {
        f.name: sum(getattr(s.balance, f.name) or 0 for s in group)
        for f in fields(Balance)
        if f.name != "currency"
    }
    return Totals(
        operator_id=operator_id,
        terminal_id=terminal_id,
        currency=currency,
        sessions=len(group),
        differing=sum(bool(s.differences) for s in group),
        **sums,
    )
