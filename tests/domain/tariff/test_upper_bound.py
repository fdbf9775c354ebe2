"""The upper bound: never below what any course of power costs, never falling, exact where that is simple."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import assume, given
from hypothesis import strategies as st

from app.domain.tariff import (
    MeterPoint,
    Period,
    PeriodKind,
    Reading,
    Tariff,
    parse_tariff,
    price,
    upper_bound,
)
from app.domain.tariff.lower_bound import lower_bound
from app.domain.tariff.model import Restrictions
from app.domain.tariff.rates import rates_of
from tests.domain.tariff_worlds import World, amounts, billed, powers, tariffs, worlds, zones

UTC_ZONE = ZoneInfo("UTC")
START = datetime(2026, 11, 22, 10, tzinfo=UTC)


def simple(*components: tuple[str, str, int]) -> Tariff:
    listed = [{"type": kind, "price": amount, "step_size": step} for kind, amount, step in components]
    return parse_tariff({"id": "t", "currency": "EUR", "elements": [{"price_components": listed}]})


def reading(energy_wh: int, parked_at_most_s: int | None = None) -> Reading:
    """An hour after the start."""
    return Reading(
        started_at=START,
        at=START + timedelta(hours=1),
        energy_wh=energy_wh,
        parked_at_most_s=parked_at_most_s,
    )


@given(tariffs(), worlds(), zones)
def test_no_course_within_the_power_costs_more_than_the_bound(
    tariff: Tariff, world: World, tz: ZoneInfo
) -> None:
    most = upper_bound(tariff, world.reading, world.until, world.max_power_w, tz)
    assert billed(tariff, world, tz) <= most


@given(tariffs(restricted=True), worlds(), zones)
def test_restricted_tariffs_stay_below_the_bound_as_well(tariff: Tariff, world: World, tz: ZoneInfo) -> None:
    most = upper_bound(tariff, world.reading, world.until, world.max_power_w, tz)
    assert billed(tariff, world, tz) <= most


@given(tariffs(), worlds(), zones)
def test_no_course_up_to_the_reading_costs_less_than_the_lower_bound(
    tariff: Tariff, world: World, tz: ZoneInfo
) -> None:
    assert lower_bound(tariff, world.reading, tz) <= price(tariff, world.past, tz).total


EVERY_DAY = Restrictions(weekdays=frozenset(range(7)))


@given(tariffs(restricted=False), worlds(), zones)
def test_the_least_by_plain_prices_is_that_by_prices_that_are_restricted_to_every_day(
    tariff: Tariff, world: World, tz: ZoneInfo
) -> None:
    restricted = replace(
        tariff, elements=tuple(replace(each, restrictions=EVERY_DAY) for each in tariff.elements)
    )
    assert rates_of(tariff).plain_prices is not None
    assert rates_of(restricted).plain_prices is None
    assert lower_bound(tariff, world.reading, tz) == lower_bound(restricted, world.reading, tz)


limits = st.none() | st.decimals(0, 60, places=2)


@given(amounts(5), amounts(1), st.integers(0, 100_000), limits, limits)
def test_where_flat_fee_and_energy_are_all_both_bounds_are_the_price(
    fee: Decimal, per_kwh: Decimal, energy_wh: int, least: Decimal | None, most: Decimal | None
) -> None:
    """Nothing is unknown at such a reading: a bound that leaves out a least or highest price shows here."""
    assume(least is None or most is None or least <= most)
    listed = [
        {"type": kind, "price": each, "step_size": 1} for kind, each in (("FLAT", fee), ("ENERGY", per_kwh))
    ]
    limited = {
        name: {"before_taxes": each}
        for name, each in (("min_price", least), ("max_price", most))
        if each is not None
    }
    tariff = parse_tariff(
        {"id": "t", "currency": "EUR", "elements": [{"price_components": listed}], **limited}
    )
    known = reading(energy_wh)
    total = price(tariff, [Period(start=START, seconds=3600, wh=energy_wh)], UTC_ZONE).total
    assert lower_bound(tariff, known, UTC_ZONE) == total
    assert upper_bound(tariff, known, known.at, 11_000, UTC_ZONE) == total


@given(tariffs(), worlds(), zones, st.integers(0, 20_000), st.integers(0, 100_000), st.integers(0, 200_000))
def test_the_bound_never_falls_with_time_energy_or_power(
    tariff: Tariff, world: World, tz: ZoneInfo, more_s: int, more_wh: int, more_w: int
) -> None:
    most = upper_bound(tariff, world.reading, world.until, world.max_power_w, tz)
    later = upper_bound(tariff, world.reading, world.until + timedelta(seconds=more_s), world.max_power_w, tz)
    fuller = replace(world.reading, energy_wh=world.reading.energy_wh + more_wh)
    stronger = upper_bound(tariff, world.reading, world.until, world.max_power_w + more_w, tz)
    assert most <= later
    assert most <= upper_bound(tariff, fuller, world.until, world.max_power_w, tz)
    assert most <= stronger


@given(powers, st.integers(0, 100_000), st.integers(0, 36_000), st.sampled_from([1, 100]))
def test_flat_fee_and_energy_are_exact(power_w: int, energy_wh: int, seconds: int, step: int) -> None:
    tariff = simple(("FLAT", "0.5", 1), ("ENERGY", "0.59", step))
    until = START + timedelta(hours=1, seconds=seconds)
    whole = energy_wh * 3600 + power_w * seconds
    steps = -(-whole // (3600 * step))
    expected = Decimal("0.5") + Decimal("0.59") * steps * step / 1000
    assert upper_bound(tariff, reading(energy_wh), until, power_w, UTC_ZONE) == expected


def test_with_one_price_of_time_all_of_it_counts_in_whole_steps() -> None:
    tariff = simple(("TIME", "6", 300))
    found = upper_bound(tariff, reading(0), START + timedelta(minutes=61), 11_000, UTC_ZONE)
    assert found == Decimal("6.5")


def test_a_car_that_was_never_parked_owes_no_idle_fee_for_the_past() -> None:
    tariff = simple(("ENERGY", "0.5", 1), ("PARKING_TIME", "6", 1))
    until = START + timedelta(hours=1)
    anything = upper_bound(tariff, reading(10_000), until, 11_000, UTC_ZONE)
    charged = upper_bound(tariff, reading(10_000, parked_at_most_s=0), until, 11_000, UTC_ZONE)
    assert anything == Decimal(11)
    assert charged == Decimal(5)


def test_charging_and_parking_are_not_both_paid_for_the_same_moment() -> None:
    tariff = simple(("ENERGY", "0.5", 1), ("PARKING_TIME", "6", 1))
    known = reading(10_000, parked_at_most_s=0)
    found = upper_bound(tariff, known, known.at + timedelta(hours=1), 11_000, UTC_ZONE)
    both = Decimal("5") + Decimal(6)
    assert Decimal(5) + both > found >= Decimal(5) + Decimal(6)


def test_a_dear_hour_ahead_counts_only_from_when_it_begins() -> None:
    tariff = parse_tariff(
        {
            "id": "t",
            "currency": "EUR",
            "elements": [
                {
                    "price_components": [{"type": "ENERGY", "price": "1.00", "step_size": 1}],
                    "restrictions": {"start_time": "17:00", "end_time": "20:00"},
                },
                {"price_components": [{"type": "ENERGY", "price": "0.25", "step_size": 1}]},
            ],
        }
    )
    known = Reading(started_at=START, at=datetime(2026, 11, 22, 16, tzinfo=UTC), energy_wh=10_000)
    step = Decimal("0.001")
    before = upper_bound(tariff, known, datetime(2026, 11, 22, 16, 59, 59, tzinfo=UTC), 10_000, UTC_ZONE)
    during = upper_bound(tariff, known, datetime(2026, 11, 22, 17, 30, tzinfo=UTC), 10_000, UTC_ZONE)
    after = upper_bound(tariff, known, datetime(2026, 11, 22, 21, tzinfo=UTC), 10_000, UTC_ZONE)
    assert Decimal("4.99") < before <= Decimal(5) + step
    assert Decimal(10) <= during <= Decimal(10) + step
    assert Decimal("37.5") <= after <= Decimal("37.5") + step


def test_earlier_readings_keep_cheap_energy_cheap() -> None:
    tariff = parse_tariff(
        {
            "id": "t",
            "currency": "EUR",
            "elements": [
                {
                    "price_components": [{"type": "ENERGY", "price": "1.00", "step_size": 1}],
                    "restrictions": {"start_time": "17:00"},
                },
                {"price_components": [{"type": "ENERGY", "price": "0.25", "step_size": 1}]},
            ],
        }
    )
    evening = datetime(2026, 11, 22, 18, tzinfo=UTC)
    blind = Reading(started_at=START, at=evening, energy_wh=20_000)
    known = replace(blind, earlier=(MeterPoint(at=evening - timedelta(hours=1), energy_wh=16_000),))
    assert upper_bound(tariff, blind, evening, 11_000, UTC_ZONE) >= 20
    assert Decimal(8) <= upper_bound(tariff, known, evening, 11_000, UTC_ZONE) <= Decimal("8.01")


def test_a_block_of_free_energy_stays_free_in_the_bound() -> None:
    tariff = parse_tariff(
        {
            "id": "t",
            "currency": "EUR",
            "elements": [
                {
                    "price_components": [{"type": "ENERGY", "price": 0, "step_size": 1}],
                    "restrictions": {"max_kwh": 10},
                },
                {"price_components": [{"type": "ENERGY", "price": "0.50", "step_size": 1}]},
            ],
        }
    )
    found = upper_bound(tariff, reading(4_000), START + timedelta(hours=2), 10_000, UTC_ZONE)
    assert Decimal(2) <= found <= Decimal("2.001")


def test_the_highest_price_caps_the_bound() -> None:
    tariff = parse_tariff(
        {
            "id": "t",
            "currency": "EUR",
            "max_price": {"before_taxes": 10},
            "elements": [{"price_components": [{"type": "ENERGY", "price": 1, "vat": 20, "step_size": 1}]}],
        }
    )
    assert upper_bound(tariff, reading(100_000), START + timedelta(hours=1), 11_000, UTC_ZONE) == 12


def windowed(first: tuple[str, int], then: tuple[str, int], **restrictions: object) -> Tariff:
    """Two prices of energy, (price, step), the first of them restricted."""
    listed: list[dict[str, object]] = [
        {"price_components": [{"type": "ENERGY", "price": amount, "step_size": step}]}
        for amount, step in (first, then)
    ]
    listed[0]["restrictions"] = restrictions
    return parse_tariff({"id": "t", "currency": "EUR", "elements": listed})


FIVE = datetime(2026, 11, 22, 17, tzinfo=UTC)


def test_a_step_begun_in_a_window_is_counted_whole() -> None:
    tariff = windowed(("1", 1000), ("0.10", 1), start_time="09:00", end_time="17:00")
    assert upper_bound(tariff, reading(500), START + timedelta(hours=1), 11_000, UTC_ZONE) >= 1


def test_the_error_of_an_earlier_reading_may_have_been_dear_energy() -> None:
    tariff = windowed(("1", 1), ("0.10", 1), end_time="17:00")
    known = Reading(
        started_at=START,
        at=FIVE + timedelta(hours=1),
        energy_wh=20_000,
        meter_error_wh=1_000,
        earlier=(MeterPoint(at=FIVE, energy_wh=10_000),),
    )
    true_cost = Decimal(11) * 1 + Decimal(10) * Decimal("0.1")
    assert true_cost <= upper_bound(tariff, known, known.at, 11_000, UTC_ZONE) <= true_cost + 2


def test_a_higher_reading_never_lowers_the_bound_although_it_leaves_a_dear_block() -> None:
    """The first 10 kWh are expensive from 17:00 on: 9 kWh by then and one more cost more than 10 and one more."""
    tariff = windowed(("1", 1), ("0.10", 1), start_time="17:00", max_kwh=10)
    found = [
        upper_bound(
            tariff,
            Reading(started_at=START, at=FIVE, energy_wh=energy_wh),
            FIVE + timedelta(hours=1),
            1_000,
            UTC_ZONE,
        )
        for energy_wh in range(0, 12_001, 250)
    ]
    assert found == sorted(found)
    assert found[36] >= Decimal("0.9") + 1


def test_minutes_parked_and_charged_may_add_up_to_more_than_either_alone() -> None:
    """45 minutes and a second parked are billed as an hour, and the other 15 were charging."""
    tariff = simple(("TIME", "3", 60), ("PARKING_TIME", "6", 900))
    parked = Period(start=START + timedelta(seconds=899), seconds=2701, kind=PeriodKind.PARKING)
    worst = price(tariff, [Period(start=START, seconds=899), parked], UTC_ZONE).total
    assert worst > Decimal("6.74")
    assert worst <= upper_bound(tariff, reading(0), START + timedelta(hours=1), 11_000, UTC_ZONE)


def test_unknown_parking_is_taken_where_it_was_dearest() -> None:
    component = {"type": "PARKING_TIME", "step_size": 1}
    tariff = parse_tariff(
        {
            "id": "t",
            "currency": "EUR",
            "elements": [
                {"price_components": [component | {"price": 12}], "restrictions": {"end_time": "11:00"}},
                {"price_components": [component | {"price": 6}]},
            ],
        }
    )
    known = Reading(started_at=START, at=START + timedelta(hours=3), energy_wh=0, parked_at_most_s=5400)
    assert Decimal(15) <= upper_bound(tariff, known, known.at, 0, UTC_ZONE) <= Decimal("15.1")
