"""Prices as a driver is shown them, and the hold that is suggested for a usual charge."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from app.domain.charging.charge_point import CurrentType
from app.domain.limit.usual_charge import suggested_amount
from app.domain.tariff import Tariff, parse_tariff
from app.domain.tariff.shown_price import ShownPrice, UnitPrices, shown_price

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 11, 22, 11, tzinfo=UTC)
"""A Sunday, 12:00 in Berlin."""


def tariff(*elements: dict[str, Any], **more: Any) -> Tariff:
    return parse_tariff({"currency": "EUR", "tax_included": "NO", "elements": list(elements)} | more)


def priced(restrictions: dict[str, Any] | None = None, **prices: str) -> dict[str, Any]:
    components = [{"type": name, "price": price, "step_size": 1} for name, price in prices.items()]
    return {"price_components": components} | ({"restrictions": restrictions} if restrictions else {})


def units(kwh: str, minute: str = "0", idle: str = "0", flat: str = "0") -> UnitPrices:
    return UnitPrices(
        per_session=Decimal(flat),
        per_kwh=Decimal(kwh),
        per_minute=Decimal(minute),
        per_idle_minute=Decimal(idle),
    )


def shown(source: Tariff, at: datetime = NOON) -> ShownPrice:
    return shown_price(source, at, BERLIN)


def test_prices_are_for_a_kwh_a_minute_and_a_session_in_minor_units_with_taxes() -> None:
    with_vat = {"price_components": [{"type": "ENERGY", "price": "0.40", "vat": "19", "step_size": 1}]}
    found = shown(tariff(with_vat, priced(TIME="3.00", PARKING_TIME="7.20", FLAT="0.355")))
    assert found.now == found.most == units("47.6", "5", "12", "35.5")
    assert (found.currency, found.valid_until) == ("EUR", None)


def test_the_price_of_the_hour_counts_until_the_clock_changes_it() -> None:
    night = priced({"start_time": "22:00", "end_time": "06:00"}, ENERGY="0.30")
    found = shown(tariff(night, priced(ENERGY="0.55")))
    assert (found.now, found.most) == (units("55"), units("55"))
    assert found.valid_until == datetime(2026, 11, 22, 21, tzinfo=UTC)
    at_night = shown(tariff(night, priced(ENERGY="0.55")), datetime(2026, 11, 22, 23, tzinfo=UTC))
    assert at_night.now == units("30")
    assert at_night.valid_until == datetime(2026, 11, 23, 5, tzinfo=UTC)


def test_a_tariffs_end_and_a_day_of_the_week_end_a_price_but_equal_ones_do_not() -> None:
    monday = priced({"day_of_week": ["MONDAY"]}, ENERGY="0.60")
    assert shown(tariff(monday, priced(ENERGY="0.50"))).valid_until == datetime(2026, 11, 22, 23, tzinfo=UTC)
    same = priced({"day_of_week": ["MONDAY"]}, ENERGY="0.50")
    assert shown(tariff(same, priced(ENERGY="0.50"))).valid_until is None
    ending = tariff(priced(ENERGY="0.50"), end_date_time="2026-11-22T12:30:00Z")
    assert shown(ending).valid_until == datetime(2026, 11, 22, 12, 30, tzinfo=UTC)


def test_what_depends_on_power_counts_as_the_dearest_and_later_parts_of_a_charge_for_the_most() -> None:
    by_power = (priced({"max_power": 11}, ENERGY="0.40"), priced({"min_power": 50}, ENERGY="0.70"))
    found = shown(tariff(*by_power, priced(ENERGY="0.55")))
    assert (found.now, found.most) == (units("70"), units("70"))
    later = (priced({"min_kwh": 20}, ENERGY="0.90"), priced({"min_duration": 3600}, TIME="6.00"))
    found = shown(tariff(*later, priced(ENERGY="0.50", TIME="0.00")))
    assert (found.now, found.most) == (units("50"), units("90", "10"))


def test_a_hold_is_suggested_for_a_usual_charge_at_the_highest_prices() -> None:
    price = shown(tariff(priced(ENERGY="0.59")))
    assert suggested_amount(price, CurrentType.AC, 22_000) == 1500, "25 kWh are 14.75"
    assert suggested_amount(price, None, 150_000) == 2700, "45 kWh are 26.55"
    timed = shown(tariff(priced(ENERGY="0.10", TIME="6.00")))
    assert suggested_amount(timed, CurrentType.AC, 3_700) == 4400, "nearly seven hours"
    assert suggested_amount(shown(tariff(priced(ENERGY="0"))), None, None) == 100


@given(
    st.decimals("0", "2", places=4),
    st.sampled_from([None, *CurrentType]),
    st.none() | st.integers(1000, 400_000),
)
def test_a_suggested_hold_pays_for_it_and_is_a_round_amount(
    kwh: Decimal, kind: CurrentType | None, power_w: int | None
) -> None:
    found = suggested_amount(shown(tariff(priced(ENERGY=str(kwh)))), kind, power_w)
    assert found >= 100
    assert found >= kwh * 100 * 25
    assert len(str(found).rstrip("0")) <= 2
