"""When a person should look: what the watcher alone cannot bring to an end."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from app.domain.holds import settle_by
from app.domain.payment_session import PaymentSession, StartOutcome, Status
from app.domain.plausible import unbillable
from app.domain.policy import Policy


def doubts(session: PaymentSession, policy: Policy, now: datetime) -> Iterator[str]:
    """Reasons, in words; each is asked once, however often it is found again."""
    if session.ended:
        return
    charge = session.charge
    if session.start.outcome is StartOutcome.UNKNOWN and now >= session.start.deadline:
        yield "nobody knows whether the charge was started, and the start deadline has passed"
    if session.status is Status.FINISHING and charge is not None:
        why = unbillable(session, charge, policy) if charge.final_read else None
        if why is not None:
            yield why
        ended_at = charge.latest.stopped_at
        if ended_at is not None and now - ended_at >= timedelta(seconds=policy.finishing_alarm_s):
            yield "the charge has ended, but Monta does not complete it"
    if now >= settle_by(session, policy):
        yield "the hold is about to expire, and the payment session is not settled"
