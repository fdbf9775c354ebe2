"""Times that Monta tells, brought within what our own clock says is possible.

Monta's clock and ours may differ. Monta's times are compared with each other as they are; before one of them meets a
time of ours it is shifted by the difference that is known, and cut to what can be: nothing of a charge of ours is older
than its payment session, and nothing is younger than the answer that tells it.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from app.domain.charge import ChargeReport
from app.domain.payment_session import PaymentSession
from app.domain.policy import Policy

AGREE = timedelta(seconds=2)
"""Two clocks agree so far: some of Monta's times come without fractions of a second."""
MOST_S = 30 * 86_400
"""A larger difference is no clock that is wrong but a date that is: it is told and not counted with."""
OLDEST = datetime(2000, 1, 1, tzinfo=UTC)
"""Older dates are taken for this one, so that shifting them never leaves the calendar."""

BEGINNINGS = ("created_at", "started_at")
"""One that lies ahead of us is left out: the charge is then taken to have begun when it was asked for."""
ENDS = ("stopped_at", "completed_at", "failed_at", "cable_plugged_in_at")
"""One that lies ahead of us is taken for the present: that it happened still counts."""


@dataclass(frozen=True, slots=True)
class Believed:
    """A report in our own time; `odd` names the times that cannot be as Monta tells them."""

    report: ChargeReport
    odd: tuple[str, ...]


def clock_difference_s(session: PaymentSession, report: ChargeReport, policy: Policy) -> int:
    """Monta's clock minus ours in whole seconds, as a report of a charge that we asked for proves it at least: created
    before its payment session, or after the answer. 0: nothing proves any."""
    told = [t for t in (report.created_at, report.updated_at) if t is not None]
    if report.created_at is None:
        return 0
    if max(told) < session.created_at - AGREE:
        return int((max(told) - session.created_at).total_seconds())
    answered_by = report.seen_at + timedelta(seconds=policy.answer_s)
    if min(told) > answered_by + AGREE:
        return int((min(told) - answered_by).total_seconds())
    return 0


def clock_ahead(session: PaymentSession) -> timedelta:
    """The difference that is counted with; none where it cannot be that of a clock."""
    ahead_s = session.start.monta_ahead_s
    return timedelta(seconds=ahead_s if abs(ahead_s) <= MOST_S else 0)


def believed(session: PaymentSession, report: ChargeReport, policy: Policy) -> Believed:
    """The report with every time shifted by the clock difference of its session and cut to what can be."""
    ahead = clock_ahead(session)
    arrived_at = max(report.arrived_at or report.seen_at, session.created_at)
    seen_at = max(report.seen_at, session.created_at)
    first, last = session.created_at + ahead, arrived_at + timedelta(seconds=policy.answer_s) + ahead
    slack = timedelta(seconds=policy.clock_skew_s)
    changed: dict[str, datetime | None] = {}
    odd: list[str] = []
    for name in (*BEGINNINGS, *ENDS):
        told: datetime | None = getattr(report, name)
        if told is None:
            continue
        if not first - slack <= told <= last + slack:
            odd.append(name)
        left_out = name in BEGINNINGS and told > last
        changed[name] = None if left_out else min(max(told, first), last) - ahead
    # Where Monta's clock is known to be slow, its events seem older than they are: their arrival bounds them.
    newest = arrived_at if ahead < timedelta() else seen_at
    updated_at = _updated_at(report, ahead, newest + timedelta(seconds=policy.report_skew_s))
    possible = updated_at if updated_at is not None and updated_at >= session.created_at - slack else None
    as_of = max(min(possible or seen_at, newest), session.created_at)
    changed |= {"updated_at": updated_at, "as_of": as_of, "seen_at": max(seen_at, as_of)}
    return Believed(replace(report, **changed), tuple(odd))  # type: ignore[arg-type]  # fields by name


def _updated_at(report: ChargeReport, ahead: timedelta, latest: datetime) -> datetime | None:
    """For the order of Monta's reports among themselves. Believed, one far ahead of us would make every true report
    after it look old; one from long ago loses against all others by itself."""
    if report.updated_at is None:
        return None
    return min(max(report.updated_at, OLDEST) - ahead, latest)
