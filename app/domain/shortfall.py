"""Why a charge came to cost more than was reserved, as far as its record tells."""

from enum import StrEnum

from app.domain.payment_session import PaymentSession
from app.domain.tariff.model import Dimension
from app.domain.tariff.rates import rates_of


class ShortfallCause(StrEnum):
    """MONTAS_LIMIT_MISSED: Monta confirmed a limit within the reservation, and no fee can have run on after the stop.
    FEES_AFTER_STOP: the tariff charges for a cable that is left in. STOP_UNCONFIRMED: it was stopped again and again.
    UNKNOWN: none of these."""

    MONTAS_LIMIT_MISSED = "montas_limit_missed"
    FEES_AFTER_STOP = "fees_after_stop"
    STOP_UNCONFIRMED = "stop_unconfirmed"
    UNKNOWN = "unknown"


def cause_of_shortfall(session: PaymentSession) -> ShortfallCause:
    """The likeliest cause, the driver's own first."""
    tariff, limits, charge = session.tariff, session.limits, session.charge
    if tariff is not None and any(Dimension.PARKING_TIME in each.rates for each in rates_of(tariff).elements):
        return ShortfallCause.FEES_AFTER_STOP
    shown = (None, None) if charge is None else (charge.latest.kwh_limit, charge.latest.price_limit)
    if limits is not None and limits.confirmed_by(*shown):
        return ShortfallCause.MONTAS_LIMIT_MISSED
    if session.stop is not None and session.stop.attempts > 1:
        return ShortfallCause.STOP_UNCONFIRMED
    return ShortfallCause.UNKNOWN
