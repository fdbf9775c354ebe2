"""The limits sent to Monta at the start: within its bounds, rounded down, with what they do not cover."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.domain.limit.monta_limits import LimitProblem, affordable_wh, monta_limits_for
from app.domain.tariff import Period, Tariff, parse_tariff, price
from app.domain.tariff.energy_for_amount import one_energy_price
from app.domain.units.money import to_major
from tests.domain.tariff_worlds import tariffs, zones

START = datetime(2026, 11, 22, 10, tzinfo=UTC)


def tariff(*components: tuple[str, str], currency: str = "EUR", step: int = 1, **more: object) -> Tariff:
    listed = [{"type": kind, "price": amount, "step_size": step} for kind, amount in components]
    return parse_tariff({"id": "t", "currency": currency, "elements": [{"price_components": listed}], **more})


PER_KWH = tariff(("FLAT", "0.50"), ("ENERGY", "0.59"))


def test_limits_are_rounded_down_from_what_the_authorization_buys() -> None:
    found = monta_limits_for(PER_KWH, 5000, "EUR")
    assert found.kwh_limit == Decimal("83.89")
    assert found.price_limit == Decimal(50)
    assert found.kwh_covers_price
    assert not found.problems


def test_the_drivers_stop_request_lowers_the_energy_limit_only() -> None:
    found = monta_limits_for(PER_KWH, 5000, "EUR", 20_000)
    assert found.kwh_limit == 20
    assert found.price_limit == 50


def test_more_energy_than_monta_takes_is_clipped() -> None:
    assert monta_limits_for(tariff(("ENERGY", "0.01")), 5000, "EUR").kwh_limit == 500


def test_an_authorization_below_montas_minimum_values_has_no_limits_and_says_so() -> None:
    found = monta_limits_for(PER_KWH, 80, "EUR")
    assert found.kwh_limit is None
    assert found.price_limit is None
    assert found.problems == (LimitProblem.KWH_LIMIT_TOO_SMALL, LimitProblem.PRICE_LIMIT_TOO_SMALL)


def test_an_authorization_may_be_enough_for_the_price_limit_alone() -> None:
    found = monta_limits_for(PER_KWH, 105, "EUR")
    assert found.kwh_limit is None
    assert found.price_limit == Decimal("1.05")
    assert found.problems == (LimitProblem.KWH_LIMIT_TOO_SMALL,)


def test_without_a_tariff_the_price_limit_stands_alone_without_a_warning() -> None:
    found = monta_limits_for(None, 5000, "EUR")
    assert (found.kwh_limit, found.price_limit, found.problems) == (None, Decimal(50), ())
    assert not found.kwh_covers_price


def test_a_tariff_in_another_currency_counts_as_none() -> None:
    assert monta_limits_for(PER_KWH, 5000, "SEK").kwh_limit is None


def test_minutes_that_cost_make_the_energy_limit_incomplete() -> None:
    assert not monta_limits_for(
        tariff(("ENERGY", "0.5"), ("PARKING_TIME", "6")), 5000, "EUR"
    ).kwh_covers_price


@pytest.mark.parametrize(("currency", "limit"), [("JPY", "5000"), ("EUR", "50.00"), ("KWD", "5.000")])
def test_the_price_limit_is_in_major_units_of_any_currency(currency: str, limit: str) -> None:
    assert str(monta_limits_for(None, 5000, currency).price_limit) == limit


starts = st.integers(0, 365 * 86_400).map(lambda seconds: START + timedelta(seconds=seconds))


@given(tariffs(of=("FLAT", "ENERGY")), st.integers(500, 20_000), zones, starts, st.integers(60, 20 * 3600))
def test_energy_within_its_limit_never_costs_more_than_the_authorization_when_minutes_are_free(
    known: Tariff, authorized_minor: int, tz: ZoneInfo, start: datetime, seconds: int
) -> None:
    assume(one_energy_price(known))
    found = monta_limits_for(known, authorized_minor, "EUR")
    wh = 10_000_000 if found.kwh_limit is None else int(found.kwh_limit * 1000)
    assume(LimitProblem.KWH_LIMIT_TOO_SMALL not in found.problems)
    usage = [Period(start=start, seconds=seconds, wh=wh)]
    assert price(known, usage, tz).total <= to_major(authorized_minor, "EUR")


def test_the_energy_shown_is_what_the_authorization_buys_or_the_stop_request() -> None:
    assert affordable_wh(PER_KWH, 5000) == 83_898
    assert affordable_wh(PER_KWH, 5000, 20_000) == 20_000
    assert affordable_wh(None, 5000) is None
    assert affordable_wh(tariff(("FLAT", "1")), 5000) is None
