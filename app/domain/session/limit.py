"""The limit of a running session: power bound, stop plan, amount used."""

from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from zoneinfo import ZoneInfo

from app.domain.charging.charge import POWERLESS, Charge, ChargeState
from app.domain.limit.meter import MeterHistory
from app.domain.limit.monta_limits import (
    MontaLimits,
    affordable_wh,
    idle_fee_reserve_minor,
    monta_limits_for,
    same_currency,
)
from app.domain.limit.policy import Policy
from app.domain.limit.profile import latency_bound_s, tries_the_limit, usual_peak_w
from app.domain.limit.stop_plan import HORIZON, Basis, StopPlan, Used, plan_stop, used
from app.domain.session.holds import hold_deadline
from app.domain.session.learning import VISIBLE_S
from app.domain.session.limit_checks import other_currency, priced
from app.domain.session.machine import Change, Source
from app.domain.session.payment_session import PaymentSession
from app.domain.session.plausibility import most_power_w, started_at
from app.domain.session.states.journal import JournalKind
from app.domain.tariff import MeterPoint, Reading, Tariff, upper_bound
from app.domain.tariff.energy_for_amount import counts_everything, one_energy_price
from app.domain.tariff.rates import rates_of
from app.domain.units.frozen import frozen, replace
from app.domain.units.money import to_major


class PowerBasis(StrEnum):
    """What bounds the power until the next reading.

    SHOWN: the power observed of this car and charger, since Monta confirms a limit of its own. HARDWARE: the charge
    point's rating, since Monta confirms no limit, no power was observed yet, or its power jumps.
    """

    SHOWN = "shown"
    HARDWARE = "hardware"


@frozen
class Bound:
    """The worst case that a plan assumes."""

    power_w: int
    basis: PowerBasis
    latency_s: float
    latency_learned: bool


def max_power_w(session: PaymentSession, policy: Policy) -> int:
    """Returns the highest possible power in watts. The rating, or a possible observed power above it."""
    rated = session.power_bound_w if session.power_bound_w is not None else policy.unknown_power_w
    return max(rated, min(session.observed_max_w, most_power_w(session, policy)))


def guarded(session: PaymentSession, charge: Charge) -> bool:
    """Whether Monta enforces a limit within the present authorization. It confirmed the limit, and keeps its limits at
    this charge point. A limit set for possible top-ups is above it and does not count."""
    limits, latest = session.monta_limits, charge.latest
    if limits is None or (session.profile is not None and session.profile.limit_missed):
        return False
    if limits.authorized_minor <= session.authorized_minor and limits.confirmed_by(
        latest.kwh_limit, latest.price_limit
    ):
        return True
    usable = to_major(
        session.authorized_minor - limits.idle_fee_reserve_minor, session.authorization.currency
    )
    return latest.price_limit is not None and latest.price_limit <= usable


def prompt(session: PaymentSession) -> bool:
    """Whether Monta's limits were seen to act at once here."""
    return session.profile is not None and session.profile.limit_prompt > 0


def power_bound(session: PaymentSession, charge: Charge, policy: Policy) -> tuple[int, PowerBasis]:
    """The highest power until the next reading, in W, and its basis."""
    most, meter_history, profile = max_power_w(session, policy), session.meter_history, session.profile
    shared = meter_history.jumped or (profile is not None and profile.shares_power > 0)
    if shared or not guarded(session, charge):
        return most, PowerBasis.HARDWARE
    if meter_history.estimated_max_w is None:
        usual_w = usual_peak_w(profile) if prompt(session) else None
        return (most, PowerBasis.HARDWARE) if usual_w is None else (min(most, usual_w), PowerBasis.SHOWN)
    shown = (
        max(meter_history.estimated_max_w, meter_history.before_drop_w)
        if meter_history.blocks_until_drop_counts
        else meter_history.estimated_max_w
    )
    return min(most, shown), PowerBasis.SHOWN


def bound_of(session: PaymentSession, charge: Charge, policy: Policy) -> Bound:
    """Power and stop latency for the plan. A learned latency counts only where Monta's limits were observed to act at
    once; else the worst case, since it may change at any stop."""
    power_w, basis = power_bound(session, charge, policy)
    learned_s, worst_s = latency_bound_s(session.profile, policy), latency_bound_s(None, policy)
    known = session.profile is not None and bool(session.profile.stop_latencies_ms)
    if known and prompt(session) and guarded(session, charge):
        return Bound(power_w, basis, learned_s, latency_learned=True)
    return Bound(power_w, basis, max(learned_s, worst_s), latency_learned=learned_s > worst_s)


METER_ROUNDING_WH = 5
"""Monta shows kWh with two decimals where meters have three."""
FAR = timedelta(hours=1)
"""A stop further away need not be known exactly."""
MISSED_SAMPLE = 1.3
"""The factor of its interval after which a regular meter's sample is late at most."""

zone = lru_cache(maxsize=512)(ZoneInfo)


def reading_of(
    session: PaymentSession, charge: Charge, policy: Policy, power_w: int | None = None
) -> Reading:
    """The meter as it is known. A reading counts from when it was first seen; when Monta still shows the same one much
    later, less than one interval of the meter, or one step of it, can have come since the last confirmed moment.
    `power_w`: the most that may flow; None: what `power_bound` says."""
    if power_w is None:
        power_w = power_bound(session, charge, policy)[0]
    at, error_wh = _confirmed(session, charge, policy, power_w)
    began, shown = started_at(session, charge.latest, policy), priced(session, charge)
    price, wh = (shown.price, shown.energy_wh) if shown is not None else (None, None)
    per_kwh = price * 1000 / wh if price is not None and price > 0 and wh else session.learned_kwh_price
    return Reading(
        started_at=min(began, at),
        at=at,
        energy_wh=charge.energy_wh,
        meter_error_wh=error_wh,
        price=None if price is None else max(Decimal(0), price),
        price_per_kwh=per_kwh,
        earlier=_earlier(session, at, charge.energy_wh),
        parked_at_most_s=_parked_s(session.meter_history, began, at),
        past_power_w=max(
            power_w,
            min(max(session.meter_history.peak_w, session.observed_max_w), most_power_w(session, policy)),
        ),
    )


def _parked_s(meter_history: MeterHistory, started_at: datetime, at: datetime) -> int | None:
    """Returns the longest time without charging until `at`, in seconds. Before the first reading, between readings,
    since the last."""
    if not meter_history.estimated_max_w or meter_history.first_at is None:
        return None
    unseen = (meter_history.first_at - started_at) + (at - meter_history.points[-1].at)
    return max(0, int(meter_history.idle_ms / 1000 + unseen.total_seconds()) + 1)


def _earlier(session: PaymentSession, at: datetime, energy_wh: int) -> tuple[MeterPoint, ...]:
    """Older readings matter where prices depend on time or energy only."""
    if session.tariff is None or rates_of(session.tariff).plain_prices is not None:
        return ()
    return tuple(p for p in session.meter_history.points if p.at < at and p.energy_wh < energy_wh)


def _confirmed(session: PaymentSession, charge: Charge, policy: Policy, power_w: int) -> tuple[datetime, int]:
    """Bounds the energy beyond the shown one, and since when. The tighter of two bounds. A charge that has not begun
    gave nothing until Monta last confirmed it; a silent meter is not trusted for long, and an impossible reading
    confirms nothing."""
    first, newest = charge.energy_at, charge.seen_at
    if charge.state in POWERLESS and charge.gave_nothing:
        return max(first, newest), METER_ROUNDING_WH
    if charge.state is not ChargeState.PAUSED:
        newest = min(newest, charge.metered_at or first, first + timedelta(seconds=policy.meter_silence_s))
    profile, meter_history = session.profile, session.meter_history
    step_wh = meter_history.step_wh or (
        profile.step_wh if profile and not meter_history.interval_ms else None
    )
    interval_ms = meter_history.interval_ms or (profile.interval_ms if profile else None)
    if step_wh is None and interval_ms is not None:
        late = timedelta(milliseconds=interval_ms * MISSED_SAMPLE + 5000)
        return max(first, newest - late), METER_ROUNDING_WH
    step_wh = step_wh or 1000
    confirmed = newest - timedelta(seconds=0 if meter_history.step_wh else policy.meter_interval_s)
    if (confirmed - first).total_seconds() * power_w > step_wh * 3600:
        return confirmed, METER_ROUNDING_WH + step_wh
    return first, METER_ROUNDING_WH


def stop_plan(
    session: PaymentSession, charge: Charge, policy: Policy, *, horizon: timedelta = HORIZON
) -> StopPlan:
    """Returns when and why the limit requires a stop. At once where the hold is in another currency."""
    if other_currency(session, charge) is not None:
        return StopPlan(stop_at=session.created_at, basis=Basis.OTHER_CURRENCY)
    plan = _plan(session, charge, policy, session.tariff, horizon)
    ends_at = session.tariff.end_date_time if session.tariff is not None else None
    if ends_at is None:
        return plan
    latency = timedelta(seconds=bound_of(session, charge, policy).latency_s + policy.reaction_s)
    return _beyond(plan, _plan(session, charge, policy, None, horizon), ends_at - latency)


def _beyond(plan: StopPlan, without: StopPlan, covered_until: datetime) -> StopPlan:
    """Adjusts the plan where the tariff ends. A later stop must also be safe without a tariff, by Monta's running
    price. What was safe by the tariff until then stays safe."""
    if plan.stop_at is not None and plan.stop_at <= covered_until:
        return plan
    if without.stop_at is None or (plan.stop_at is not None and plan.stop_at <= without.stop_at):
        return plan
    return replace(without, stop_at=max(without.stop_at, covered_until))


def _plan(
    session: PaymentSession, charge: Charge, policy: Policy, tariff: Tariff | None, horizon: timedelta
) -> StopPlan:
    bound, held, limits = bound_of(session, charge, policy), session.authorization, session.monta_limits
    return plan_stop(
        tariff,
        session.authorized_minor - (limits.idle_fee_reserve_minor if limits is not None else 0),
        held.currency,
        reading_of(session, charge, policy, bound.power_w),
        max_power_w=bound.power_w,
        stop_latency_s=bound.latency_s + policy.reaction_s,
        tz=zone(session.time_zone),
        energy_limit_wh=session.energy_limit_wh,
        horizon=horizon,
    )


def limit_at(
    session: PaymentSession, charge: Charge, policy: Policy, now: datetime | None = None
) -> datetime | None:
    """Returns the latest time to send the stop within the authorization. None: beyond the horizon.

    With `now`: where no stop can be due for FAR, only a time before which none can: quicker with prices by time.
    """
    if now is None:
        return stop_plan(session, charge, policy).stop_at
    horizon = max(timedelta(0), now - charge.energy_at) + FAR
    found = stop_plan(session, charge, policy, horizon=min(horizon, HORIZON)).stop_at
    return charge.energy_at + horizon if found is None and horizon < HORIZON else found


def recent_power_w(session: PaymentSession) -> int | None:
    """The average power between the last two readings, in W. None: not known, or no charge runs."""
    charge, points = session.charge, session.meter_history.points
    if charge is None or charge.ended or session.ended:
        return None
    if charge.state is ChargeState.PAUSED or charge.state in POWERLESS:
        return 0
    if len(points) < 2:
        return None
    seconds = int((points[-1].at - points[-2].at).total_seconds())
    return (points[-1].energy_wh - points[-2].energy_wh) * 3600 // seconds if seconds else None


def expected_end(session: PaymentSession, policy: Policy) -> datetime | None:
    """The expected end by the limit at the present power. None: not known, or not within the horizon."""
    charge, power_w = session.charge, session.meter_history.estimated_max_w
    if charge is None or charge.ended or session.ended or not power_w:
        return None
    kept_minor = session.monta_limits.idle_fee_reserve_minor if session.monta_limits is not None else 0
    plan = plan_stop(
        session.tariff,
        session.authorized_minor - kept_minor,
        session.authorization.currency,
        reading_of(session, charge, policy),
        max_power_w=power_w,
        stop_latency_s=0,
        tz=zone(session.time_zone),
        energy_limit_wh=session.energy_limit_wh,
    )
    return plan.stop_at


def start_limits(session: PaymentSession, policy: Policy) -> MontaLimits:
    """Monta's limits for this session. They cannot be raised later, so they allow for top-ups; our own limit is
    lower."""
    currency = session.authorization.currency
    top_up_max = session.top_up_max_minor or 0
    if session.hold_max_minor is not None:
        top_up_max = min(top_up_max, session.hold_max_minor)
    most_minor = max(session.authorized_minor, top_up_max)
    kept = idle_fee_reserve_minor(
        session.tariff,
        session.authorized_minor,
        currency,
        parked_s=policy.idle_reserve_s,
        most_share=Fraction(str(policy.idle_reserve_share)),
    )
    rated_w = session.power_bound_w or 0
    return monta_limits_for(
        session.tariff,
        most_minor,
        currency,
        session.energy_limit_wh,
        idle_fee_reserve_minor=kept,
        reaction_wh=int(rated_w * policy.limit_reaction_s / 3600) + 1 if rated_w else 0,
        reaction_s=policy.limit_reaction_s if rated_w else 0,
        trial_wh=_trial_wh(session, policy),
        tariff_lasts=_lasts(session, policy),
    )


def _lasts(session: PaymentSession, policy: Policy) -> bool:
    """Whether the tariff is valid as long as the charge may run."""
    ends_at = session.tariff.end_date_time if session.tariff is not None else None
    return ends_at is None or ends_at >= hold_deadline(session, policy)


def _trial_wh(session: PaymentSession, policy: Policy) -> int:
    """Energy by which Monta's limit is lowered for a trial. In a few sessions where it is useful and cheap, it then
    acts before our own stop, and the record shows whether it acts at once."""
    profile, rated_w, tariff = session.profile, session.power_bound_w, session.tariff
    usual_w = usual_peak_w(profile)
    bought_wh = affordable_wh(tariff, session.authorized_minor, session.energy_limit_wh)
    if usual_w is None or not tries_the_limit(profile) or tariff is None or bought_wh is None:
        return 0
    blur_wh = 0 if counts_everything(tariff) else bought_wh / session.authorized_minor
    if blur_wh * 3600 > usual_w * VISIBLE_S:
        return 0
    soonest_s = min(profile.stop_latencies_ms, default=0) / 1000 if profile is not None else 0
    ahead_s = max(0, latency_bound_s(None, policy) - soonest_s) + policy.limit_trial_s
    trial_wh = int(min(usual_w, rated_w or usual_w) * ahead_s / 3600) + 1
    return trial_wh if trial_wh <= bought_wh * policy.limit_trial_share else 0


def amount_used_minor(session: PaymentSession, policy: Policy) -> int:
    """The amount of `amount_used` alone."""
    return amount_used(session, policy).amount_minor


def amount_used(session: PaymentSession, policy: Policy) -> Used:
    """What the driver has used so far, never more than the authorization. The captured amount once it is settled."""
    if session.settlement is not None:
        return Used(amount_minor=session.settlement.to_capture_minor, error_minor=0)
    if session.charge is None or session.ended:
        return Used(amount_minor=0, error_minor=0)
    return used(
        session.tariff,
        session.authorized_minor,
        session.authorization.currency,
        reading_of(session, session.charge, policy),
        max_power_w=max_power_w(session, policy),
        tz=zone(session.time_zone),
    )


def is_used_whatever_the_power(session: PaymentSession, policy: Policy) -> bool:
    """Whether `amount_used_minor` is the same whatever readings showed of power and meter. So it is where energy alone
    costs, and Monta's price is below the least upper bound that any history can lead to."""
    charge, known = session.charge, same_currency(session.tariff, session.authorization.currency)
    if charge is None or session.ended or session.settlement is not None or known is None:
        return True
    if not (one_energy_price(known) and counts_everything(known)):
        return False
    shown, at = priced(session, charge), charge.energy_at
    if shown is None or shown.price is None:
        return True
    # No minute costs anything, so that its times do not matter.
    reading = Reading(started_at=at, at=at, energy_wh=charge.energy_wh, meter_error_wh=METER_ROUNDING_WH)
    return shown.price <= upper_bound(known, reading, at, 0, zone(session.time_zone))


def energy_limit_wh(session: PaymentSession) -> int | None:
    """The energy limit to show. None while it is not known how much the authorization buys."""
    return affordable_wh(session.tariff, session.authorized_minor, session.energy_limit_wh)


def compare_price(
    change: Change, before: Charge | None, known: Charge, source: Source, policy: Policy
) -> Change:
    """Journals once that Monta's price has passed the tariff. The plan then counts from Monta's price (basis
    `reported_price`)."""
    if before is not None and before.latest.price == known.latest.price:
        return change
    most = _price_passed(change, known, policy)
    if most is None or (before is not None and _price_passed(change, before, policy) is not None):
        return change
    return change.note(
        JournalKind.PRICE_ABOVE_TARIFF, source, price=str(known.latest.price), most_by_tariff=f"{most:.4f}"
    )


def _price_passed(change: Change, charge: Charge, policy: Policy) -> Decimal | None:
    """Returns the tariff's upper bound if Monta's running price exceeds it. By more than rounding."""
    session, price = change.session, charge.latest.price
    tariff, currency = session.tariff, session.authorization.currency
    if tariff is None or price is None or tariff.currency != currency or charge.ended:
        return None
    if other_currency(session, charge) is not None:
        return None
    power_w = max_power_w(session, policy)
    reading = reading_of(session, charge, policy, power_w)
    most = upper_bound(tariff, reading, charge.seen_at, power_w, zone(session.time_zone))
    return most if price > most + to_major(1, currency) else None
