"""Energy: kWh, Wh and the energy of a power."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from app.domain.energy import energy_up_wh, kwh_to_wh, wh_to_kwh
from app.domain.money import Rounding


def test_kwh_become_wh_in_the_named_direction() -> None:
    found = [kwh_to_wh(Decimal("1.2345"), each) for each in (Rounding.DOWN, Rounding.HALF_UP, Rounding.UP)]
    assert found == [1234, 1235, 1235]


@given(st.integers(0, 10**12), st.sampled_from(Rounding))
def test_wh_to_kwh_and_back_changes_nothing(energy_wh: int, rounding: Rounding) -> None:
    assert kwh_to_wh(wh_to_kwh(energy_wh), rounding) == energy_wh


def test_an_hour_of_a_kilowatt_is_a_kilowatt_hour() -> None:
    assert energy_up_wh(1000, 3600) == 1000


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_energy_of_a_power_is_rounded_up(power_w: int, seconds: int) -> None:
    found = energy_up_wh(power_w, seconds)
    assert (found - 1) * 3600 < power_w * seconds <= found * 3600
