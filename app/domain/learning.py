"""What a settled session teaches about its charge point."""

from dataclasses import replace
from datetime import timedelta

from app.domain.charge import Charge
from app.domain.disagreement import by_montas_limit
from app.domain.habits import Habits, latency_bound_s
from app.domain.limit_evidence import acted_at_once
from app.domain.meter import ROUNDING_WH, Trail
from app.domain.money import Rounding, to_minor
from app.domain.payment_session import PaymentSession
from app.domain.policy import Policy
from app.domain.possible import most_power_w

KEPT = 20
"""So many stops are remembered: a behaviour of the past is forgotten with the twentieth stop after it."""
TRUST = 40
"""Sessions for which a limit of Monta's that acted at once is remembered; each new one renews it."""
MOST_LATENCY_S = 300
"""A stop that took longer met an outage: that is no habit of the charge point, nor does it leave what was learned."""
DISTRUST = 10
"""Sessions for which a surprise (a shared charger, a limit that Monta did not keep) is held against a charge point."""


def learned(habits: Habits, session: PaymentSession, policy: Policy) -> Habits:
    """The habits after a settled session: wider at once when reality was worse than the bound, narrower slowly."""
    charge = session.charge
    if charge is None:
        return habits
    trail = session.trail
    peak_w = min(trail.peak_w, most_power_w(session, policy))
    known = replace(
        habits,
        peaks_w=(*habits.peaks_w, peak_w)[-KEPT:] if peak_w else habits.peaks_w,
        interval_ms=trail.interval_ms or habits.interval_ms,
        step_wh=trail.step_wh if len(trail.points) > 2 else habits.step_wh,
        shares_power=DISTRUST if trail.jumped else max(0, habits.shares_power - 1),
        limit_missed=DISTRUST if _limit_missed(session, charge) else max(0, habits.limit_missed - 1),
        limit_prompt=_limit_prompt(habits, session, charge),
    )
    if _outlasted(session, charge, habits):
        return replace(known, stop_latencies_ms=())
    latency_ms = stop_latency_ms(session, charge, trail)
    if latency_ms is None:
        return known
    if latency_ms > MOST_LATENCY_S * 1000:
        return replace(known, stop_latencies_ms=())
    surprised = latency_ms > latency_bound_s(habits, policy) * 1000
    before = () if surprised else habits.stop_latencies_ms
    return replace(known, stop_latencies_ms=(*before, latency_ms)[-KEPT:])


def _outlasted(session: PaymentSession, charge: Charge, habits: Habits) -> bool:
    """Monta's limit ended what our stop had not ended in the longest time ever seen here: how long a stop takes is not
    known any more."""
    stop, ended_at = session.stop, charge.latest.stopped_at
    if stop is None or ended_at is None or not by_montas_limit(charge) or not habits.stop_latencies_ms:
        return False
    return (ended_at - stop.decided_at).total_seconds() * 1000 > max(habits.stop_latencies_ms)


def stop_latency_ms(session: PaymentSession, charge: Charge, trail: Trail) -> int | None:
    """From our first stop call to the end of the energy; None: we did not stop it, or something else ended it first.

    Monta's stop time counts, unless it lies after the end was known, or the energy that came after the last reading
    took longer than that.
    """
    stop, ended_at = session.stop, charge.latest.stopped_at
    if stop is not None and ended_at is not None and stop.confirmed_at is not None:
        ended_at = min(ended_at, max(stop.confirmed_at, stop.decided_at))
    if stop is None or ended_at is None or ended_at <= stop.decided_at or by_montas_limit(charge):
        return None
    before = [point for point in trail.points if point.at < ended_at and point.energy_wh < charge.energy_wh]
    if before and trail.shown_w:
        last = before[-1]
        risen_wh = max(0, charge.energy_wh - last.energy_wh - ROUNDING_WH)
        took = timedelta(seconds=risen_wh * 3600 / trail.shown_w)
        allowed = timedelta(seconds=3) + (ended_at - last.at) / 10
        if last.at + took > ended_at + allowed:
            ended_at = last.at + took
    return int((ended_at - stop.decided_at).total_seconds() * 1000)


def _limit_prompt(habits: Habits, session: PaymentSession, charge: Charge) -> int:
    acted = acted_at_once(session, charge)
    if acted is None:
        return max(0, habits.limit_prompt - 1)
    return TRUST if acted else 0


def _limit_missed(session: PaymentSession, charge: Charge) -> bool:
    """Monta confirmed a limit within the reservation, and the charge itself came to cost more than that."""
    limits, latest, held = session.limits, charge.latest, session.authorization
    if limits is None or latest.price is None or limits.kept_back_minor:
        return False
    confirmed = limits.confirmed_by(latest.kwh_limit, latest.price_limit)
    return confirmed and to_minor(latest.price, held.currency, Rounding.HALF_UP) > limits.reserved_minor
