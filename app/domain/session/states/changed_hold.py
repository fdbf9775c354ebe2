"""Raises or lowers a hold in place, as the PSP did (incremental authorization)."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from app.domain.limit.monta_limits import admitted, same_currency
from app.domain.limit.policy import Policy
from app.domain.session.limit import guarded, start_limits, stop_plan
from app.domain.session.payment_session import Held, HoldChange, PaymentSession, StartOutcome
from app.domain.units.frozen import replace

MAX_CHANGES = 50
"""Changes of one hold; a further one is refused."""
STOP_SENT_WITHIN = timedelta(seconds=5)
"""Time for the watcher to plan anew and to send a stop, should one be due at once."""


def held(session: PaymentSession, reference: str) -> Held | None:
    """Returns the session's hold of this reference."""
    holds: Iterable[Held] = (session.authorization, *session.top_ups)
    return next((hold for hold in holds if hold.reference == reference), None)


def with_changed(
    session: PaymentSession, hold: Held, amount_minor: int, expires_at: datetime | None
) -> PaymentSession:
    """The session with another total of one hold. Monta's limits are computed anew while no charge can exist.

    `expires_at` None: the hold ends as before.
    """
    change = HoldChange(
        amount_minor=amount_minor,
        expires_at=hold.ends_at if expires_at is None else expires_at,
        count=1 + (hold.change.count if hold.change else 0),
    )
    if hold is session.authorization:
        session = replace(session, authorization=replace(session.authorization, change=change))
    else:
        top_ups = (replace(t, change=change) if t is hold else t for t in session.top_ups)
        session = replace(session, top_ups=tuple(top_ups))
    return session if may_have_started(session) else replace(session, monta_limits=None)


def may_have_started(session: PaymentSession) -> bool:
    """Whether a charge of this session may exist at Monta. Its limits are set there for good then."""
    start = session.start
    certain = start.outcome in (StartOutcome.NOT_DONE, StartOutcome.REFUSED) and start.ambiguous_at is None
    return session.charge is not None or not certain


def is_too_small(session: PaymentSession, policy: Policy) -> bool:
    """Whether Monta takes no limit for these holds, and the policy starts no charge without. Before the start."""
    if may_have_started(session):
        return False
    known = same_currency(session.tariff, session.authorization.currency) is not None
    limits = start_limits(session, policy)
    return not admitted(limits, tariff_known=known, small=policy.small_authorizations)


def may_use_more(session: PaymentSession, policy: Policy, now: datetime) -> bool:
    """Whether the charge may cost more than its holds.

    Although a stop is sent within STOP_SENT_WITHIN, and at the worst: at full power since the last reading, with the
    longest stop latency. True also where nothing bounds the cost: while the start's outcome is unknown, and where
    neither a tariff is known nor a limit of Monta's holds.
    """
    charge = session.charge
    if charge is None:
        return may_have_started(session)
    if same_currency(session.tariff, session.authorization.currency) is None and not guarded(session, charge):
        return True
    stop_at = stop_plan(session, charge, policy).stop_at
    return stop_at is not None and stop_at < now + STOP_SENT_WITHIN
