"""The holds of one payment session: how long they are good, and how a bill is spread over them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.hold_terms import good_until, top_up_good_until
from app.domain.payment_session import PaymentSession
from app.domain.policy import Policy
from app.domain.settlement import HoldShare


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One hold; `amount_minor` in minor units of the session's currency."""

    reference: str
    amount_minor: int
    good_until: datetime


def holds(session: PaymentSession, policy: Policy) -> tuple[Hold, ...]:
    """All holds, the first to expire first; of two that expire together the older one."""
    days = timedelta(days=session.hold_days if session.hold_days is not None else policy.hold_days)
    first = session.authorization
    found = [
        Hold(
            reference=first.reference,
            amount_minor=first.amount_minor,
            good_until=good_until(first, session.created_at, days),
        )
    ]
    found += [
        Hold(
            reference=t.reference,
            amount_minor=t.amount_minor,
            good_until=top_up_good_until(t.expires_at, t.at, days),
        )
        for t in session.top_ups
    ]
    return tuple(sorted(found, key=lambda hold: hold.good_until))


def hold_deadline(session: PaymentSession, policy: Policy) -> datetime:
    """When the first of the holds is no longer good: what the terminal said, else the policy's days."""
    return holds(session, policy)[0].good_until


def stop_by(session: PaymentSession, policy: Policy) -> datetime:
    """When a charge must be stopped, so that there is time to settle and to capture."""
    return hold_deadline(session, policy) - hold_margin(session, policy)


def settle_by(session: PaymentSession, policy: Policy) -> datetime:
    """When an ended charge is settled by what is known, final or not: half the margin is left to capture."""
    return hold_deadline(session, policy) - hold_margin(session, policy) / 2


def hold_margin(session: PaymentSession, policy: Policy) -> timedelta:
    """So long before the hold dies a charge is stopped; a tenth of a hold that is a short one."""
    lasts = hold_deadline(session, policy) - session.created_at
    return max(timedelta(), min(timedelta(seconds=policy.hold_margin_s), lasts / 10))


def spread(to_capture_minor: int, over: Iterable[Hold]) -> tuple[HoldShare, ...]:
    """Capture from each hold in turn until the bill is paid; the rest of each is released."""
    shares = []
    for hold in over:
        captured = min(to_capture_minor, hold.amount_minor)
        to_capture_minor -= captured
        shares.append(
            HoldShare(
                reference=hold.reference,
                amount_minor=hold.amount_minor,
                to_capture_minor=captured,
                to_release_minor=hold.amount_minor - captured,
            )
        )
    return tuple(shares)
