"""Finds what a running charge's readings may show without a decision."""

from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from app.domain.charging.charge import Charge, ChargeState
from app.domain.limit.monta_limits import same_currency
from app.domain.limit.policy import Policy
from app.domain.limit.stop_plan import plan_stop
from app.domain.session.holds import stop_by
from app.domain.session.limit import FAR, bound_of, max_power_w, reading_of, zone
from app.domain.session.limit_checks import BLUR_WH, other_currency
from app.domain.session.machine import Wait
from app.domain.session.next_step import next_search
from app.domain.session.payment_session import PaymentSession, Status
from app.domain.session.plausibility import SHOWN_FACTOR, SLACK_WH, most_power_w
from app.domain.session.reports import clock_ahead
from app.domain.session.states.kept_readings import Allowed
from app.domain.session.states.running_reports import SOON
from app.domain.tariff import Reading, Tariff
from app.domain.tariff.lower_bound import lower_bound
from app.domain.tariff.model import Dimension
from app.domain.tariff.rates import rates_of
from app.domain.tariff.upper_bound import upper_bound
from app.domain.units.frozen import frozen, replace
from app.domain.units.money import Rounding, kwh_to_wh, to_major

TARIFF_ENDS = timedelta(hours=49)
"""A tariff that ends within this (more than the forecast's horizon) allows for no reading: prices change then."""
RATE_MARGIN = Decimal("1.02")
"""Without a tariff: the average price may seem to rise by this much, since prices are rounded."""
MARGIN = timedelta(seconds=1)
"""Plans are exact to the millisecond, and readings to the Wh."""
NO_BOUND_WH = 2**40
MICROSECOND = timedelta(microseconds=1)


def allowed_for(session: PaymentSession, policy: Policy, now: datetime) -> Allowed | None:
    """What readings may show without a decision, by what is known now. None: every reading must be applied."""
    charge = session.charge
    said = None if charge is None else charge.latest.said
    if charge is None or said is None or not _runs_plainly(session, charge):
        return None
    search, minor = next_search(session, policy, now), to_major(1, session.authorization.currency)
    if not isinstance(search, Wait) or _tariff_ends(session, now):
        return None
    power_w = max_power_w(session, policy)
    reading = reading_of(session, charge, policy, power_w)
    line = _price_line(session, reading, charge, power_w, minor)
    reading = replace(reading, price=line.planned)
    latency_s = bound_of(session, charge, policy).latency_s + policy.reaction_s
    stop_at = _stop_at(session, reading, power_w, latency_s, max(timedelta(0), now - reading.at) + FAR)
    due_at = min(stop_at - _read_ahead(session, policy), stop_by(session, policy), search.until or stop_at)
    if due_at <= now + SOON:
        return None
    shown, peak_w = charge.latest, session.meter_history.peak_w
    return Allowed(
        reference=shown.partner_external_id,
        said=said,
        energy_wh=charge.energy_wh,
        at=reading.at,
        power_w=min(power_w, most_power_w(session, policy), SHOWN_FACTOR * peak_w or power_w),
        shown_price=shown.price or Decimal(0),
        price=line.price,
        price_per_wh=line.per_wh,
        price_per_s=line.per_s,
        most_price=_most_price(session, charge, minor),
        most_wh=NO_BOUND_WH if shown.kwh_limit is None else kwh_to_wh(shown.kwh_limit, Rounding.UP) + BLUR_WH,
        # The first power that shows may be next to none, and more than ten times of it is not believed.
        step_wh=NO_BOUND_WH if peak_w else SLACK_WH,
        skew_s=policy.report_skew_s,
        due_at=due_at,
        stop_at=stop_at,
        silent_after=timedelta(seconds=policy.silent_after_s),
    )


def _most_price(session: PaymentSession, charge: Charge, minor: Decimal) -> Decimal:
    """The highest price that passes no limit, Monta's by rounding only."""
    authorized, limit = (
        to_major(session.authorized_minor, session.authorization.currency),
        charge.latest.price_limit,
    )
    return authorized if limit is None else min(authorized, limit + minor)


def _runs_plainly(session: PaymentSession, charge: Charge) -> bool:
    """Whether nothing about the session is out of the ordinary. Then its readings are judged by themselves."""
    shown, reads = charge.latest, session.reads
    return (
        session.status is Status.CHARGING
        and charge.state is ChargeState.CHARGING
        and 0 < charge.energy_wh == shown.energy_wh
        and shown.updated_at is not None
        and shown.set_aside_why is None
        and (shown.price is None or shown.price >= 0)
        and (shown.price is not None) == (charge.priced is not None)
        and other_currency(session, charge) is None
        and not any(
            (shown.stopped_at, shown.completed_at, shown.failed_at, shown.failure_reason, shown.stop_reason)
        )
        and not (session.duplicates or session.lost or session.stop_request or session.stop)
        and reads.missing is None
        and session.awaits_sweep_since is None
        and session.profile is not None
        and session.power_bound_w is not None
        and not clock_ahead(session)
        and charge.seen_at == shown.seen_at
    )


def _tariff_ends(session: PaymentSession, now: datetime) -> bool:
    ends_at = session.tariff.end_date_time if session.tariff is not None else None
    return ends_at is not None and ends_at <= now + TARIFF_ENDS


def _read_ahead(session: PaymentSession, policy: Policy) -> timedelta:
    """Returns how long before a stop a last reading is asked for."""
    interval_s = (session.meter_history.interval_ms or 0) / 1000 + policy.settled_sample_s
    return timedelta(seconds=max(interval_s, policy.read_ahead_s + policy.fresh_s))


def _stop_at(
    session: PaymentSession, reading: Reading, power_w: int, latency_s: float, horizon: timedelta
) -> datetime:
    """Returns a time before which the limit requires no stop. Whatever readings show within these bounds."""
    limits = session.monta_limits
    plan = plan_stop(
        session.tariff,
        session.authorized_minor - (limits.idle_fee_reserve_minor if limits is not None else 0),
        session.authorization.currency,
        reading,
        max_power_w=power_w,
        stop_latency_s=latency_s,
        tz=zone(session.time_zone),
        energy_limit_wh=session.energy_limit_wh,
        horizon=horizon,
    )
    ahead = (horizon if plan.stop_at is None else plan.stop_at - reading.at) - MARGIN
    if session.tariff is None or not _parking_costs(session.tariff):
        return reading.at + ahead
    # A part of the time in which energy flowed may come to count as parked, too: then both cost something.
    latency = timedelta(seconds=latency_s)
    return reading.at + (ahead + latency) / 2 - latency


def _parking_costs(tariff: Tariff) -> bool:
    return any(Dimension.PARKING_TIME in each.rates for each in rates_of(tariff).elements)


@frozen
class _PriceLine:
    """Prices that are planned for as `planned` at the reading. Up to `price`, and so much more for each Wh and
    second."""

    price: Decimal
    per_wh: Decimal
    per_s: Decimal
    planned: Decimal | None


def _price_line(
    session: PaymentSession, reading: Reading, charge: Charge, power_w: int, minor: Decimal
) -> _PriceLine:
    """How Monta's price may rise. By a tariff: as the least that it makes of energy and time, and one minor unit of
    rounding, so that it never passes the planned course by more than is planned for."""
    price, none = charge.latest.price, Decimal(0)
    if price is None:
        return _PriceLine(none, none, none, reading.price)
    tariff = same_currency(session.tariff, session.authorization.currency)
    if tariff is None:
        most = price * RATE_MARGIN + minor
        return _PriceLine(most, most / charge.energy_wh, none, most)
    tz = zone(session.time_zone)
    per_wh, per_s, counted_s = _least_rates(tariff)
    past_s = Fraction((reading.at - reading.since) // MICROSECOND, 10**6)
    least = lower_bound(tariff, reading, tz) + _decimal(counted_s * past_s)
    excess = max(minor, price - least)
    planned = upper_bound(tariff, reading, reading.at, power_w, tz) + excess
    return _PriceLine(least + minor, _decimal(per_wh), _decimal(per_s), planned)


def _least_rates(tariff: Tariff) -> tuple[Fraction, Fraction, Fraction]:
    """Returns how much the bound rises at least. For each Wh and second, and what it counts for each second so far
    beyond the least."""
    rates = rates_of(tariff)
    if rates.least_total is not None or rates.most_total is not None:
        return Fraction(0), Fraction(0), Fraction(0)
    if rates.plain is None:
        shown = [each.rates.get(Dimension.ENERGY) for each in rates.elements]
        return (
            min((Fraction(0) if rate is None else rate.gross for rate in shown), default=Fraction(0)),
            Fraction(0),
            Fraction(0),
        )
    energy, time, parking = (
        rates.plain[each].gross if each in rates.plain else Fraction(0)
        for each in (Dimension.ENERGY, Dimension.TIME, Dimension.PARKING_TIME)
    )
    return (energy, min(time, parking), Fraction(0)) if parking else (energy, time, time)


def _decimal(number: Fraction) -> Decimal:
    """Rounded to the safe side: down."""
    return Decimal(int(number * 10**12)) / 10**12
