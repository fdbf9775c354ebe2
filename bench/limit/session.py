"""Builds the session of a visit as it is when its start was sent."""

from dataclasses import replace
from datetime import datetime, timedelta

from app.domain.limit.policy import Policy
from app.domain.limit.profile import ChargePointProfile
from app.domain.session.limit import start_limits
from app.domain.session.payment_session import Authorization, PaymentSession, Start, StartOutcome
from app.domain.units.ids import ChargePointId, OperatorId, SessionId, TerminalId
from bench.limit.visits import Visit


def session_of(
    visit: Visit, profile: ChargePointProfile, policy: Policy, *, begun_at: datetime
) -> PaymentSession:
    """Builds the session as it is when its start was sent: Monta has its limits, and nothing is known of the
    charge."""
    session = PaymentSession(
        id=SessionId("ps"),
        operator_id=OperatorId("op"),
        terminal_id=TerminalId("trm"),
        charge_point_id=ChargePointId("1"),
        display_reference="K7QM-4TXP",
        authorization=Authorization(reference="A", amount_minor=visit.authorized_minor, currency="EUR"),
        created_at=begun_at,
        updated_at=begun_at,
        start=Start(
            deadline=begun_at + timedelta(hours=2), outcome=StartOutcome.UNKNOWN, posts=1, intent_at=begun_at
        ),
        power_bound_w=visit.point.rated_w,
        profile=profile,
        tariff=visit.tariff,
        time_zone="Europe/Berlin",
    )
    return replace(session, monta_limits=start_limits(session, policy))
