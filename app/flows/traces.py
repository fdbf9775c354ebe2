"""What spans say of a payment session: ids, states and amounts, by names of our own."""

from app.domain.session.payment_session import PaymentSession
from app.tracing import Attributes


def session_attributes(session: PaymentSession) -> Attributes:
    """The session that a span is about."""
    return {
        "tapwatt.session.id": session.id,
        "tapwatt.session.status": session.status,
        "tapwatt.operator.id": session.operator_id,
        "tapwatt.charge_point.id": session.charge_point_id,
    }


def settlement_attributes(session: PaymentSession) -> Attributes:
    """The session, and what its settlement says."""
    settled = session.settlement
    if settled is None:
        return session_attributes(session)
    return {
        **session_attributes(session),
        "tapwatt.settlement.action": settled.action,
        "tapwatt.settlement.basis": settled.basis,
        "tapwatt.settlement.to_capture_minor": settled.to_capture_minor,
        "tapwatt.settlement.to_release_minor": settled.to_release_minor,
        "tapwatt.currency": session.authorization.currency,
    }
