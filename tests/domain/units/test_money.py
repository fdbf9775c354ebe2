"""Money and energy: currencies, and the direction of every rounding."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iso4217 import Currency

from app.domain.units.money import (
    EXPONENTS,
    Rounding,
    UnknownCurrency,
    exponent,
    format_minor,
    is_currency,
    kwh_to_wh,
    to_major,
    to_minor,
    wh_to_kwh,
)

CURRENCIES = st.sampled_from(sorted(EXPONENTS))
AMOUNTS = st.decimals(min_value=-(10**9), max_value=10**9, places=6)


def test_every_active_currency_of_iso_4217_has_its_exponent() -> None:
    listed = {each.code: each.exponent for each in Currency if each.exponent is not None}
    assert listed == EXPONENTS


@pytest.mark.parametrize("code", ["XAU", "XTS", "XXX", "eur", "EURO", "", "DEM"])
def test_metals_test_codes_and_spent_currencies_are_no_currencies(code: str) -> None:
    assert not is_currency(code)
    with pytest.raises(UnknownCurrency):
        exponent(code)


@pytest.mark.parametrize(
    ("amount", "currency", "down", "half_up", "up"),
    [
        ("12.345", "EUR", 1234, 1235, 1235),
        ("12.344", "EUR", 1234, 1234, 1235),
        ("12.34", "EUR", 1234, 1234, 1234),
        ("12.5", "JPY", 12, 13, 13),
        ("1.2344", "KWD", 1234, 1234, 1235),
        ("1.23456", "CLF", 12345, 12346, 12346),
        ("-0.005", "EUR", -1, -1, 0),
    ],
)
def test_rounding_goes_where_its_name_says(
    amount: str, currency: str, down: int, half_up: int, up: int
) -> None:
    found = [
        to_minor(Decimal(amount), currency, each) for each in (Rounding.DOWN, Rounding.HALF_UP, Rounding.UP)
    ]
    assert found == [down, half_up, up]


@given(AMOUNTS, CURRENCIES)
def test_down_and_up_enclose_the_amount_within_one_unit(amount: Decimal, currency: str) -> None:
    down, up = (to_minor(amount, currency, each) for each in (Rounding.DOWN, Rounding.UP))
    assert to_major(down, currency) <= amount <= to_major(up, currency)
    assert down <= to_minor(amount, currency, Rounding.HALF_UP) <= up <= down + 1


@given(st.integers(-(10**15), 10**15), CURRENCIES)
def test_minor_to_major_and_back_changes_nothing(amount_minor: int, currency: str) -> None:
    for rounding in Rounding:
        assert to_minor(to_major(amount_minor, currency), currency, rounding) == amount_minor


@pytest.mark.parametrize(
    ("amount_minor", "currency", "shown"),
    [
        (1234, "EUR", "12.34 EUR"),
        (1234, "JPY", "1234 JPY"),
        (1234, "KWD", "1.234 KWD"),
        (5, "EUR", "0.05 EUR"),
    ],
)
def test_money_is_shown_in_major_units_with_all_decimals(
    amount_minor: int, currency: str, shown: str
) -> None:
    assert format_minor(amount_minor, currency) == shown


def test_kwh_become_wh_in_the_named_direction() -> None:
    found = [kwh_to_wh(Decimal("1.2345"), each) for each in (Rounding.DOWN, Rounding.HALF_UP, Rounding.UP)]
    assert found == [1234, 1235, 1235]


@given(st.integers(0, 10**12), st.sampled_from(Rounding))
def test_wh_to_kwh_and_back_changes_nothing(energy_wh: int, rounding: Rounding) -> None:
    assert kwh_to_wh(wh_to_kwh(energy_wh), rounding) == energy_wh
