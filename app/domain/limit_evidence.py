"""Whether Monta's limits acted at once: what the final record of a charge tells."""

from decimal import Decimal

from app.domain.charge import Charge
from app.domain.disagreement import by_montas_limit
from app.domain.energy import kwh_to_wh
from app.domain.meter import ROUNDING_WH
from app.domain.money import Rounding, to_major
from app.domain.payment_session import PaymentSession

AT_ONCE_S = 3
"""A limit that acts within this time at the power that the car showed is prompt."""
VISIBLE_S = 6
"""Where rounding alone hides more than this, a record proves nothing."""


def acted_at_once(session: PaymentSession, charge: Charge) -> bool | None:
    """True: a limit of Monta's ended the charge, and hardly anything flowed beyond it. False: more flowed than in
    AT_ONCE_S, whoever ended it. None: the record does not tell.

    Fees for a cable that is left in blur a price, so a limit of price proves nothing where some were kept back.
    """
    power_w, limits = session.trail.shown_w, session.limits
    if (
        limits is None
        or not power_w
        or not limits.confirmed_by(charge.latest.kwh_limit, charge.latest.price_limit)
    ):
        return None
    beyond = [each for each in (_energy_beyond(session, charge), _price_beyond(session, charge)) if each]
    late_wh = power_w * AT_ONCE_S / 3600
    if any(past_wh - blur_wh > late_wh for past_wh, blur_wh in beyond):
        return False
    sharp = [
        past_wh
        for past_wh, blur_wh in beyond
        if past_wh >= -blur_wh and blur_wh <= power_w * VISIBLE_S / 3600
    ]
    return True if sharp and by_montas_limit(charge) else None


def _energy_beyond(session: PaymentSession, charge: Charge) -> tuple[float, float] | None:
    """By how many Wh the charge passed the limit of energy (below 0: not), and how exactly that is known."""
    limits, final_wh = session.limits, charge.latest.energy_wh
    if limits is None or limits.kwh_limit is None or final_wh is None:
        return None
    return final_wh - kwh_to_wh(limits.kwh_limit, Rounding.UP), ROUNDING_WH / 2


def _price_beyond(session: PaymentSession, charge: Charge) -> tuple[float, float] | None:
    """The same for the limit of price, as energy at the average price of this charge."""
    limits, price, final_wh = session.limits, charge.latest.price, charge.latest.energy_wh
    if limits is None or limits.price_limit is None or limits.kept_back_minor or not price or not final_wh:
        return None
    wh_per_major = Decimal(final_wh) / price
    minor = to_major(1, session.authorization.currency)
    return float((price - limits.price_limit) * wh_per_major), float(minor * wh_per_major / 2)
