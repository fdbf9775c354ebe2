"""The energy that an amount buys at worst."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import assume, given
from hypothesis import strategies as st

from app.domain.tariff import Period, PeriodKind, Tariff, energy_for_amount, parse_tariff, price
from app.domain.units.money import to_major
from tests.domain.tariff_worlds import tariffs, zones

START = datetime(2026, 11, 22, 10, tzinfo=UTC)


def tariff(*components: tuple[str, str, int], **more: object) -> Tariff:
    listed = [{"type": kind, "price": amount, "step_size": step} for kind, amount, step in components]
    return parse_tariff({"id": "t", "currency": "EUR", "elements": [{"price_components": listed}], **more})


def test_fees_come_off_first_and_the_rest_buys_energy_rounded_down() -> None:
    assert energy_for_amount(tariff(("FLAT", "0.50", 1), ("ENERGY", "0.59", 1)), 5000) == 83_898


def test_only_whole_steps_are_bought() -> None:
    assert energy_for_amount(tariff(("ENERGY", "0.50", 1000)), 1099) == 21_000


def test_free_energy_has_no_bound() -> None:
    assert energy_for_amount(tariff(("FLAT", "1", 1)), 5000) is None
    assert energy_for_amount(tariff(("ENERGY", "0", 1)), 5000) is None


def test_a_highest_price_within_the_amount_makes_all_further_energy_free() -> None:
    capped = tariff(("ENERGY", "0.50", 1), max_price={"before_taxes": 40})
    assert energy_for_amount(capped, 4000) is None
    assert energy_for_amount(capped, 3999) == 79_980


def test_a_least_price_above_the_amount_buys_nothing() -> None:
    assert energy_for_amount(tariff(("ENERGY", "0.50", 1), min_price={"before_taxes": 5}), 499) == 0


def test_minutes_count_at_the_least_power_and_parking_as_long_as_assumed() -> None:
    timed = tariff(("ENERGY", "0.40", 1), ("TIME", "1.10", 1), ("PARKING_TIME", "6", 1))
    assert energy_for_amount(timed, 1000) == 25_000
    at_11_kw = energy_for_amount(timed, 1000, least_power_w=11_000)
    assert at_11_kw is not None
    assert 19_980 <= at_11_kw <= 20_000
    parked = energy_for_amount(timed, 1000, least_power_w=11_000, parked_s=600)
    assert parked is not None
    assert 17_980 <= parked <= 18_000


def test_free_kilowatt_hours_are_bought_on_top() -> None:
    known = parse_tariff(
        {
            "id": "t",
            "currency": "EUR",
            "elements": [
                {
                    "price_components": [{"type": "ENERGY", "price": 0, "step_size": 1}],
                    "restrictions": {"max_kwh": 5},
                },
                {"price_components": [{"type": "ENERGY", "price": "0.50", "step_size": 1}]},
            ],
        }
    )
    assert energy_for_amount(known, 1000) == 25_000


def test_energy_that_is_priced_only_from_some_kwh_on_is_rounded_up_from_there() -> None:
    """28.5 kWh are not priced at all: the 500 Wh after them are a step by themselves."""
    component = {"type": "ENERGY", "price": "0.08", "step_size": 1000}
    listed = [{"price_components": [component], "restrictions": {"min_kwh": "28.5"}}]
    known = parse_tariff({"id": "t", "currency": "EUR", "elements": listed})
    assert [energy_for_amount(known, minor) for minor in (0, 4, 8, 16)] == [28_500, 28_500, 28_500, 29_500]


def test_steps_that_do_not_fit_into_each_other_are_reserved_whole() -> None:
    elements = [
        {
            "price_components": [{"type": "ENERGY", "price": "1", "step_size": 700}],
            "restrictions": {"max_kwh": "1.2"},
        },
        {"price_components": [{"type": "ENERGY", "price": "0.10", "step_size": 1000}]},
    ]
    known = parse_tariff({"id": "t", "currency": "EUR", "elements": elements})
    bought = energy_for_amount(known, 123)
    assert bought is not None
    used = [Period(start=START, seconds=3600, wh=bought)]
    assert price(known, used, ZoneInfo("Europe/Berlin")).total <= Decimal("1.23")


@given(tariffs(), st.integers(0, 20_000), st.integers(0, 20_000))
def test_more_money_never_buys_less(known: Tariff, amount_minor: int, more_minor: int) -> None:
    less, more = energy_for_amount(known, amount_minor), energy_for_amount(known, amount_minor + more_minor)
    assert more is None or (less is not None and less <= more)


@given(
    tariffs(),
    st.integers(0, 20_000),
    zones,
    st.integers(1, 40_000),
    st.integers(0, 7200),
    st.booleans(),
)
def test_what_was_bought_never_costs_more_at_the_assumed_power_and_parking(
    known: Tariff, amount_minor: int, tz: ZoneInfo, seconds: int, parked_s: int, parks_first: bool
) -> None:
    affordable_wh = energy_for_amount(known, amount_minor)
    assume(affordable_wh is not None and affordable_wh > 0)
    assert affordable_wh is not None
    least_power_w = max(1, affordable_wh * 3600 // seconds)
    bought = energy_for_amount(known, amount_minor, least_power_w=least_power_w, parked_s=parked_s)
    assume(bought)
    assert bought is not None
    charging_s = bought * 3600 // least_power_w
    assume(charging_s > 0)
    legs = [(PeriodKind.CHARGING, charging_s, bought), (PeriodKind.PARKING, parked_s, 0)]
    usage, at = [], START
    for kind, length, wh in reversed(legs) if parks_first else legs:
        usage.append(Period(start=at, seconds=length, wh=wh, kind=kind))
        at += timedelta(seconds=length)
    assert price(known, usage, tz).total <= to_major(amount_minor, "EUR")


def test_the_amount_is_taken_in_the_tariffs_currency() -> None:
    yen = parse_tariff(
        {"id": "t", "currency": "JPY", "elements": [{"price_components": [{"type": "ENERGY", "price": 50}]}]}
    )
    assert energy_for_amount(yen, 5000) == 100_000
    assert Decimal(100) * 50 == to_major(5000, "JPY")
