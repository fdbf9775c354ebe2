"""The limit of one session: what counts as known about the meter, since when power may have flowed, and what its plan
counts with."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from app.domain.charging.charge import POWERLESS, ChargeState
from app.domain.limit.meter import MeterHistory
from app.domain.limit.monta_limits import MontaLimits
from app.domain.limit.policy import Policy
from app.domain.limit.profile import latency_bound_s
from app.domain.session.limit import (
    METER_ROUNDING_WH,
    expected_end,
    limit_at,
    reading_of,
    recent_power_w,
    start_limits,
)
from app.domain.session.machine import Source
from app.domain.session.payment_session import Status
from app.domain.session.reports import apply_report
from app.domain.tariff import Tariff, parse_tariff
from tests.domain.sessions import T0, new_session, report, running, seen

POLICY = Policy()
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("state", sorted(POWERLESS))
def test_a_charge_that_has_not_begun_gave_nothing_until_it_was_last_seen(state: ChargeState) -> None:
    assert reading_of(new_session(), seen(state, at_s=200), POLICY).at == T0 + 200 * SECOND


def test_a_running_charge_without_a_new_reading_may_have_given_energy_since_the_last_one() -> None:
    charge = seen(ChargeState.CHARGING, at_s=200, energy_wh=1000, energy_at_s=30)
    assert reading_of(new_session(), charge, POLICY).at == T0 + 30 * SECOND


def test_a_reading_that_monta_still_shows_is_at_most_one_meter_interval_old() -> None:
    charge = seen(ChargeState.PAUSED, at_s=4000, energy_wh=1000, energy_at_s=30)
    assert reading_of(new_session(), charge, POLICY).at == T0 + (4000 - POLICY.meter_interval_s) * SECOND


def test_a_driver_who_plugs_in_late_at_a_fast_charger_is_not_stopped_before_the_start() -> None:
    tariff = parse_tariff(
        {
            "currency": "EUR",
            "elements": [{"price_components": [{"type": "ENERGY", "price": "0.79", "step_size": 1}]}],
        }
    )
    held = replace(new_session().authorization, amount_minor=300)
    session = new_session(authorization=held, tariff=tariff, power_bound_w=350_000)
    at = limit_at(session, seen(ChargeState.STARTING, at_s=200), POLICY)
    assert at is not None
    assert at > T0 + 200 * SECOND


PER_KWH = "0.80"
HELD_MINOR = 1600
RATED_W = 36_000
"""10 Wh each second."""
BOUGHT_WH = 20_000


def energy_only(**more: object) -> Tariff:
    element = {"price_components": [{"type": "ENERGY", "price": PER_KWH, "step_size": 1}]}
    return parse_tariff({"currency": "EUR", "elements": [element]} | more)


def planned(
    *, policy: Policy = POLICY, reserve_minor: int = 0, tariff: Tariff | None = None, **more: object
) -> datetime:
    """The latest stop of a charge with 1,000 Wh a minute after T0."""
    limits = MontaLimits(kwh_limit=None, price_limit=None, idle_fee_reserve_minor=reserve_minor)
    session = new_session(
        authorization=replace(new_session().authorization, amount_minor=HELD_MINOR),
        tariff=tariff or energy_only(),
        power_bound_w=RATED_W,
        monta_limits=limits,
        **more,
    )
    found = limit_at(session, seen(ChargeState.CHARGING, at_s=60, energy_wh=1000, energy_at_s=60), policy)
    assert found is not None
    return found


def seconds_to(wh: float) -> float:
    """Full power from the reading until this energy in all, in seconds after T0."""
    return 60 + (wh - 1000) * 3600 / RATED_W


def late_s(policy: Policy = POLICY) -> float:
    """What goes by from a stop that is due to no power, at worst."""
    return latency_bound_s(None, policy) + policy.reaction_s


def assert_at(found: datetime, after_s: float) -> None:
    assert abs((found - T0).total_seconds() - after_s) < 0.01


def test_the_plan_counts_with_the_meters_error_the_stop_latency_and_the_reaction() -> None:
    assert_at(planned(), seconds_to(BOUGHT_WH - METER_ROUNDING_WH) - late_s())


@pytest.mark.parametrize("reaction_s", [0, 0.5, 4])
def test_the_reaction_time_is_taken_off_besides_the_stop_latency(reaction_s: float) -> None:
    policy = replace(POLICY, reaction_s=reaction_s)
    assert_at(planned(policy=policy), seconds_to(BOUGHT_WH - METER_ROUNDING_WH) - late_s(policy))


def test_the_reserve_for_idle_fees_is_not_spent_on_energy() -> None:
    """4.00 of 16.00 are kept: 15 kWh are left."""
    assert_at(planned(reserve_minor=400), seconds_to(15_000 - METER_ROUNDING_WH) - late_s())


def test_a_meter_in_steps_may_have_given_a_step_more() -> None:
    """Seen in whole kWh, and the same reading still confirmed much later: up to 1,000 Wh more have flowed by then."""
    session = new_session(
        authorization=replace(new_session().authorization, amount_minor=HELD_MINOR),
        tariff=energy_only(),
        power_bound_w=RATED_W,
    )
    charge = seen(ChargeState.PAUSED, at_s=4000, energy_wh=1000, energy_at_s=30)
    confirmed_s = 4000 - POLICY.meter_interval_s
    left_wh = BOUGHT_WH - 1000 - (METER_ROUNDING_WH + 1000)
    found = limit_at(session, charge, POLICY)
    assert found is not None
    assert_at(found, confirmed_s + left_wh * 3600 / RATED_W - late_s())


def test_a_drivers_own_limit_counts_with_the_meters_error_too() -> None:
    found = planned(energy_limit_wh=10_000)
    assert_at(found, seconds_to(10_000 - METER_ROUNDING_WH) - late_s())


def test_a_stop_at_the_tariffs_end_is_sent_its_latency_and_reaction_before() -> None:
    """What follows is charged at a price that spends the hold at once."""
    ends_at = T0 + 600 * SECOND
    found = planned(
        tariff=energy_only(end_date_time=f"{ends_at:%Y-%m-%dT%H:%M:%SZ}"), learned_kwh_price=Decimal(1000)
    )
    assert_at(found, 600 - late_s())


def test_the_expected_end_leaves_the_reserve_for_idle_fees() -> None:
    """At the 18 kW that the car takes, and with no latency: Monta or we end it there."""
    charge = seen(ChargeState.CHARGING, at_s=60, energy_wh=1000, energy_at_s=60)
    session = new_session(
        authorization=replace(new_session().authorization, amount_minor=HELD_MINOR),
        tariff=energy_only(),
        power_bound_w=RATED_W,
        charge=charge,
        status=Status.CHARGING,
        meter_history=MeterHistory(estimated_max_w=18_000),
        monta_limits=MontaLimits(kwh_limit=None, price_limit=None, idle_fee_reserve_minor=400),
    )
    found = expected_end(session, POLICY)
    assert found is not None
    assert_at(found, 60 + (15_000 - METER_ROUNDING_WH - 1000) * 3600 / 18_000)


def test_the_limits_for_monta_keep_the_reserve_and_its_reaction_at_full_power() -> None:
    """16.00 less a tenth for the cable that is left in, less what 36 kW give in Monta's 2 seconds."""
    tariff = energy_only(
        elements=[
            {
                "price_components": [
                    {"type": "ENERGY", "price": PER_KWH, "step_size": 1},
                    {"type": "PARKING_TIME", "price": 60, "step_size": 1},
                ]
            }
        ]
    )
    session = new_session(
        authorization=replace(new_session().authorization, amount_minor=HELD_MINOR),
        tariff=tariff,
        power_bound_w=RATED_W,
    )
    limits = start_limits(session, POLICY)
    assert limits.idle_fee_reserve_minor == 160
    assert limits.price_limit is not None
    assert limits.price_limit <= Decimal("14.40")


def test_the_power_shown_is_the_average_between_the_last_two_readings_while_power_flows() -> None:
    change = running(energy_wh=100, at=60)
    assert recent_power_w(new_session()) is None
    assert recent_power_w(change.session) is None, "one reading"
    for at_s, energy_wh in ((120, 400), (180, 1000), (240, 1000)):
        shown = report("charging", at_s, energy_wh=energy_wh)
        change = apply_report(change, shown, Source.MONTA_WEBHOOK, POLICY)
    assert recent_power_w(change.session) == 600 * 60, "the last one was no news"
    for state, power_w in (("paused", 0), ("stopped", None)):
        shown = report(state, 300, energy_wh=1000)
        change = apply_report(change, shown, Source.MONTA_WEBHOOK, POLICY)
        assert recent_power_w(change.session) == power_w


def test_prices_by_the_hour_go_by_the_clocks_of_the_operators_place() -> None:
    """T0 is 11:00 in Berlin, where the cheap hour begins."""
    component = {"type": "ENERGY", "step_size": 1}
    cheap = {"price_components": [component | {"price": "0.20"}]}
    tariff = parse_tariff(
        {
            "currency": "EUR",
            "elements": [
                cheap | {"restrictions": {"start_time": "11:00", "end_time": "12:00"}},
                {"price_components": [component | {"price": PER_KWH}]},
            ],
        }
    )
    held = replace(new_session().authorization, amount_minor=HELD_MINOR)
    charge = seen(ChargeState.CHARGING, at_s=60, energy_wh=500, energy_at_s=60)
    utc, berlin = (
        limit_at(
            new_session(authorization=held, tariff=tariff, power_bound_w=RATED_W, time_zone=zone),
            charge,
            POLICY,
        )
        for zone in ("UTC", "Europe/Berlin")
    )
    assert utc is not None
    assert berlin is not None
    assert berlin - utc > timedelta(minutes=20)
