"""Applies Monta's reports of a running charge as they arrive. Says when its session is due."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from app.domain.charging.charge import ENDED, ChargeReport
from app.domain.limit.policy import Policy
from app.domain.session import stuck_session
from app.domain.session.machine import Change, Source, Wait
from app.domain.session.next_step import decide, stop_due_at
from app.domain.session.payment_session import PaymentSession, Status
from app.domain.session.reports import apply_report
from app.domain.units.frozen import frozen

SOON = timedelta(seconds=10)
"""A due time within this is kept, even if the reports allow a later one: it may have a reason that is not in the
session, such as news that named only a charge just adopted."""


@frozen
class Merged:
    """A session with its reports applied, and until when it may wait. `now`: a step is due at once."""

    change: Change
    due: Wait


def may_merge(session: PaymentSession, report: ChargeReport) -> bool:
    """Whether a report only goes on with a charge that runs. All others need a watcher's turn."""
    charge = session.charge
    return (
        session.status is Status.CHARGING
        and charge is not None
        and charge.id == report.id
        and report.partner_external_id in (None, session.id)
        and report.state not in ENDED
        and not charge.ended
        and session.lost is None
        and not session.duplicates
        and session.profile is not None
        and session.power_bound_w is not None
    )


def merge_reports(
    session: PaymentSession, reports: Sequence[ChargeReport], policy: Policy, now: datetime
) -> Merged:
    """Applies reports that `may_merge`, and decides from when on a step is due."""
    change = Change(session)
    for report in reports:
        change = apply_report(change, report, Source.MONTA_WEBHOOK, policy)
    change = stuck_session.observed(change, now, policy)
    step = decide(change.session, policy, now)
    due = step if isinstance(step, Wait) else Wait(now, stop_due_at(change.session, policy, now))
    return Merged(stuck_session.with_attention(change, policy, now), due)


def rescheduled(due_at: datetime | None, wanted: Wait, now: datetime, *, leased: bool) -> Wait | None:
    """The due times to write; None: the present ones stay. A later one only while no watcher works on the session."""
    until = wanted.until
    if until is None:
        return None
    if due_at is not None and until > due_at and (leased or due_at <= now + SOON):
        return Wait(due_at, wanted.stop_at)
    return wanted
