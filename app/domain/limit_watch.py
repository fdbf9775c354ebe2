"""The limit of one running session: what the forecast is given, and what it answers."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from zoneinfo import ZoneInfo

from app.domain.charge import Charge
from app.domain.guards import Guards, affordable_wh, guards, kept_back_minor
from app.domain.habits import latency_bound_s
from app.domain.limit import StopPlan, plan_stop, used_minor
from app.domain.payment_session import PaymentSession
from app.domain.policy import Policy
from app.domain.tariff import MeterPoint, Reading
from app.domain.tariff.rates import rates_of

METER_ROUNDING_WH = 5
"""Monta shows kWh with two decimals where meters have three."""
MISSED_SAMPLE = 1.3
"""A meter that reports regularly is believed to be so much of its interval late at most."""

zone = lru_cache(maxsize=512)(ZoneInfo)


class PowerBasis(StrEnum):
    """What bounds the power until the next reading.

    SHOWN: what this car and charger have shown, since Monta confirms a limit of its own. HARDWARE: the most that the
    charge point can give, since nobody else guards, nothing was shown yet, or its power jumps.
    """

    SHOWN = "shown"
    HARDWARE = "hardware"


@dataclass(frozen=True, slots=True)
class Bound:
    """The worst case that a plan counts with."""

    power_w: int
    basis: PowerBasis
    latency_s: float
    latency_learned: bool


def reading_of(
    session: PaymentSession, charge: Charge, policy: Policy, power_w: int | None = None
) -> Reading:
    """The meter as it is known. A reading counts from when it was first seen; when Monta still shows the same one much
    later, less than one interval of the meter, or one step of it, can have come since the last confirmed moment.
    `power_w`: the most that may flow; None: what `power_bound` says."""
    if power_w is None:
        power_w = power_bound(session, charge, policy)[0]
    at, error_wh = _confirmed(session, charge, policy, power_w)
    started_at = (
        charge.latest.started_at or charge.latest.created_at or session.start.intent_at or session.created_at
    )
    price, wh = charge.latest.price, charge.latest.energy_wh
    per_kwh = price * 1000 / wh if price is not None and price > 0 and wh else None
    return Reading(
        started_at=min(started_at, at),
        at=at,
        energy_wh=charge.energy_wh,
        meter_error_wh=error_wh,
        price=price if price is not None and price >= 0 else None,
        price_per_kwh=per_kwh,
        earlier=_earlier(session, at, charge.energy_wh),
    )


def _earlier(session: PaymentSession, at: datetime, energy_wh: int) -> tuple[MeterPoint, ...]:
    """Older readings matter where prices depend on time or energy only."""
    if session.tariff is None or rates_of(session.tariff).plain_prices is not None:
        return ()
    return tuple(p for p in session.trail.points if p.at < at and p.energy_wh < energy_wh)


def _confirmed(session: PaymentSession, charge: Charge, policy: Policy, power_w: int) -> tuple[datetime, int]:
    """Since when at most how much more than the shown energy can have flowed: the sharper of what is known."""
    habits, trail = session.habits, session.trail
    step_wh = trail.step_wh or (habits.step_wh if habits and not trail.interval_s else None)
    interval_s = trail.interval_s or (habits.interval_s if habits else None)
    first, newest = charge.energy_at, charge.seen_at
    if step_wh is None and interval_s is not None:
        return max(first, newest - timedelta(seconds=interval_s * MISSED_SAMPLE + 5)), METER_ROUNDING_WH
    step_wh = step_wh or 1000
    confirmed = newest - timedelta(seconds=0 if trail.step_wh else policy.meter_interval_s)
    if (confirmed - first).total_seconds() * power_w > step_wh * 3600:
        return confirmed, METER_ROUNDING_WH + step_wh
    return first, METER_ROUNDING_WH


def max_power_w(session: PaymentSession, policy: Policy) -> int:
    """What may flow at any moment: the charge point's rating, or more when more was seen."""
    rated = session.power_bound_w if session.power_bound_w is not None else policy.unknown_power_w
    return max(rated, min(session.seen_power_w, policy.highest_power_w))


def guarded(session: PaymentSession, charge: Charge) -> bool:
    """Whether Monta confirms a limit that keeps within the reservation, and keeps its limits at this charge point."""
    limits, latest = session.limits, charge.latest
    if limits is None or limits.reserved_minor > session.authorization.amount_minor:
        return False
    if session.habits is not None and session.habits.limit_missed:
        return False
    return limits.confirmed_by(latest.kwh_limit, latest.price_limit)


def power_bound(session: PaymentSession, charge: Charge, policy: Policy) -> tuple[int, PowerBasis]:
    """The most that may flow until the next reading, in W, and what says so."""
    most, trail, habits = max_power_w(session, policy), session.trail, session.habits
    shared = trail.jumped or (habits is not None and habits.shares_power > 0)
    if trail.shown_w is None or shared or not guarded(session, charge):
        return most, PowerBasis.HARDWARE
    shown = max(trail.shown_w, trail.peak_w) if trail.held_back else trail.shown_w
    return min(most, shown), PowerBasis.SHOWN


def bound_of(session: PaymentSession, charge: Charge, policy: Policy) -> Bound:
    """Power and stop latency as they are counted with now; a latency that was learned counts where Monta guards too:
    alone we expect the worst, since behaviour may change at any stop."""
    power_w, basis = power_bound(session, charge, policy)
    learned_s, worst_s = latency_bound_s(session.habits, policy), latency_bound_s(None, policy)
    known = session.habits is not None and bool(session.habits.stop_latencies_ms)
    if known and guarded(session, charge):
        return Bound(power_w, basis, learned_s, latency_learned=True)
    return Bound(power_w, basis, max(learned_s, worst_s), latency_learned=learned_s > worst_s)


def stop_plan(session: PaymentSession, charge: Charge, policy: Policy) -> StopPlan:
    """When the limit asks for a stop, and what that rests on."""
    bound, held, limits = bound_of(session, charge, policy), session.authorization, session.limits
    return plan_stop(
        session.tariff,
        held.amount_minor - (limits.kept_back_minor if limits is not None else 0),
        held.currency,
        reading_of(session, charge, policy, bound.power_w),
        max_power_w=bound.power_w,
        stop_latency_s=bound.latency_s + policy.record_lag_s,
        tz=zone(session.time_zone),
        energy_limit_wh=session.energy_limit_wh,
    )


def limit_at(session: PaymentSession, charge: Charge, policy: Policy) -> datetime | None:
    """The latest time to send the stop so that the reservation is never exceeded; None: beyond the horizon."""
    return stop_plan(session, charge, policy).stop_at


def expected_end(session: PaymentSession, policy: Policy) -> datetime | None:
    """When the limit will end the charge if it goes on as it does; None: nothing says so, or not within the horizon."""
    charge, power_w = session.charge, session.trail.shown_w
    if charge is None or charge.ended or session.ended or not power_w:
        return None
    plan = plan_stop(
        session.tariff,
        session.authorization.amount_minor,
        session.authorization.currency,
        reading_of(session, charge, policy),
        max_power_w=power_w,
        stop_latency_s=0,
        tz=zone(session.time_zone),
        energy_limit_wh=session.energy_limit_wh,
    )
    return plan.stop_at


def start_limits(session: PaymentSession, policy: Policy) -> Guards:
    """Monta's limits for this session."""
    held = session.authorization
    kept = kept_back_minor(
        session.tariff,
        held.amount_minor,
        held.currency,
        parked_s=policy.idle_reserve_s,
        most_share=Fraction(str(policy.idle_reserve_share)),
    )
    rated_w = session.power_bound_w or 0
    return guards(
        session.tariff,
        held.amount_minor,
        held.currency,
        session.energy_limit_wh,
        kept_back_minor=kept,
        reaction_wh=int(rated_w * policy.limit_reaction_s / 3600) + 1 if rated_w else 0,
    )


def amount_used_minor(session: PaymentSession, policy: Policy) -> int:
    """What the driver has used so far, never more than the reservation; the captured amount once it is settled."""
    if session.settlement is not None:
        return session.settlement.to_capture_minor
    if session.charge is None or session.ended:
        return 0
    return used_minor(
        session.tariff,
        session.authorization.amount_minor,
        session.authorization.currency,
        reading_of(session, session.charge, policy),
        max_power_w=max_power_w(session, policy),
        tz=zone(session.time_zone),
    )


def energy_limit_wh(session: PaymentSession) -> int | None:
    """The energy to show as the limit; None while nothing says how much the reservation buys."""
    return affordable_wh(session.tariff, session.authorization.amount_minor, session.energy_limit_wh)
