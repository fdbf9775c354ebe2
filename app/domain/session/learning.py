"""Learns a charge point's stop latency and limits from settled sessions."""

from datetime import timedelta
from decimal import Decimal

from app.domain.charging.charge import Charge
from app.domain.limit.meter import ROUNDING_WH, MeterHistory
from app.domain.limit.policy import Policy
from app.domain.limit.profile import ChargePointProfile, latency_bound_s
from app.domain.session.limit_checks import by_montas_limit
from app.domain.session.payment_session import PaymentSession
from app.domain.session.plausibility import most_power_w
from app.domain.units.frozen import replace
from app.domain.units.money import Rounding, kwh_to_wh, to_major, to_minor

AT_ONCE_S = 3
"""A limit that acts within this time at the power that the car showed is prompt."""
VISIBLE_S = 6
"""Where rounding alone hides more than this, a record proves nothing."""


def acted_at_once(session: PaymentSession, charge: Charge) -> bool | None:
    """Whether Monta's limit ended the charge at once. True: a limit of Monta's ended it, and hardly anything flowed
    beyond. False: more flowed than in AT_ONCE_S, whoever ended it. None: the record does not show it.

    Fees for a cable that is left in blur a price, so a limit of price proves nothing where some were kept back.
    """
    power_w, limits = session.meter_history.estimated_max_w, session.monta_limits
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
    """Returns the Wh beyond the energy limit, and their error. Below 0: the limit was not passed."""
    limits, final_wh = session.monta_limits, charge.latest.energy_wh
    if limits is None or limits.kwh_limit is None or final_wh is None:
        return None
    return final_wh - kwh_to_wh(limits.kwh_limit, Rounding.UP), ROUNDING_WH / 2


def _price_beyond(session: PaymentSession, charge: Charge) -> tuple[float, float] | None:
    """Returns the same for the price limit, as energy. At the average price of this charge."""
    limits, price, final_wh = session.monta_limits, charge.latest.price, charge.latest.energy_wh
    if (
        limits is None
        or limits.price_limit is None
        or limits.idle_fee_reserve_minor
        or not price
        or not final_wh
    ):
        return None
    wh_per_major = Decimal(final_wh) / price
    minor = to_major(1, session.authorization.currency)
    return float((price - limits.price_limit) * wh_per_major), float(minor * wh_per_major / 2)


KEPT = 20
"""Number of remembered stops: an old behaviour is forgotten with the twentieth stop after it."""
TRUST = 40
"""Sessions for which a prompt limit of Monta's is remembered. Each new one renews it."""
MOST_LATENCY_S = 300
"""A longer stop met an outage: it is neither learned nor does it keep what was learned."""
DISTRUST = 10
"""Sessions for which a shared charger or a missed limit of Monta's counts against a charge point."""


def learned(profile: ChargePointProfile, session: PaymentSession, policy: Policy) -> ChargePointProfile:
    """Returns the profile after a settled session. Wider at once when reality was worse than the bound, narrower
    slowly."""
    charge = session.charge
    if charge is None:
        return profile
    meter_history = session.meter_history
    peak_w = min(meter_history.peak_w, most_power_w(session, policy))
    known = replace(
        profile,
        peaks_w=(*profile.peaks_w, peak_w)[-KEPT:] if peak_w else profile.peaks_w,
        interval_ms=meter_history.interval_ms or profile.interval_ms,
        step_wh=meter_history.step_wh if len(meter_history.points) > 2 else profile.step_wh,
        shares_power=DISTRUST if meter_history.jumped else max(0, profile.shares_power - 1),
        limit_missed=DISTRUST if _limit_missed(session, charge) else max(0, profile.limit_missed - 1),
        limit_prompt=_limit_prompt(profile, session, charge),
    )
    if _outlasted(session, charge, profile):
        return replace(known, stop_latencies_ms=())
    latency_ms = stop_latency_ms(session, charge, meter_history)
    if latency_ms is None:
        return known
    if latency_ms > MOST_LATENCY_S * 1000:
        return replace(known, stop_latencies_ms=())
    surprised = latency_ms > latency_bound_s(profile, policy) * 1000
    before = () if surprised else profile.stop_latencies_ms
    return replace(known, stop_latencies_ms=(*before, latency_ms)[-KEPT:])


def _outlasted(session: PaymentSession, charge: Charge, profile: ChargePointProfile) -> bool:
    """Whether Monta's limit ended the charge although our stop was sent. It had exceeded every observed latency:
    then the latency is unknown again."""
    stop, ended_at = session.stop, charge.latest.stopped_at
    if stop is None or ended_at is None or not by_montas_limit(charge) or not profile.stop_latencies_ms:
        return False
    return (ended_at - stop.decided_at).total_seconds() * 1000 > max(profile.stop_latencies_ms)


def stop_latency_ms(session: PaymentSession, charge: Charge, meter_history: MeterHistory) -> int | None:
    """From our first stop call to the end of the energy. None: we did not stop it, or something else ended it first.

    Monta's stop time counts, unless it lies after the end was known, or the energy that came after the last reading
    took longer than that.
    """
    stop, ended_at = session.stop, charge.latest.stopped_at
    if stop is not None and ended_at is not None and stop.confirmed_at is not None:
        ended_at = min(ended_at, max(stop.confirmed_at, stop.decided_at))
    if stop is None or ended_at is None or ended_at <= stop.decided_at or by_montas_limit(charge):
        return None
    before = [
        point for point in meter_history.points if point.at < ended_at and point.energy_wh < charge.energy_wh
    ]
    if before and meter_history.estimated_max_w:
        last = before[-1]
        risen_wh = max(0, charge.energy_wh - last.energy_wh - ROUNDING_WH)
        took = timedelta(seconds=risen_wh * 3600 / meter_history.estimated_max_w)
        allowed = timedelta(seconds=3) + (ended_at - last.at) / 10
        if last.at + took > ended_at + allowed:
            ended_at = last.at + took
    return int((ended_at - stop.decided_at).total_seconds() * 1000)


def _limit_prompt(profile: ChargePointProfile, session: PaymentSession, charge: Charge) -> int:
    acted = acted_at_once(session, charge)
    if acted is None:
        return max(0, profile.limit_prompt - 1)
    return TRUST if acted else 0


def _limit_missed(session: PaymentSession, charge: Charge) -> bool:
    """Whether the charge came to cost more than a confirmed limit. Monta confirmed it within the authorization."""
    limits, latest, held = session.monta_limits, charge.latest, session.authorization
    if limits is None or latest.price is None or limits.idle_fee_reserve_minor:
        return False
    confirmed = limits.confirmed_by(latest.kwh_limit, latest.price_limit)
    return confirmed and to_minor(latest.price, held.currency, Rounding.HALF_UP) > limits.authorized_minor
