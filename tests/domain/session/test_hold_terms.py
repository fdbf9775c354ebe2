"""Tests of app/domain/session/holds.

Which holds a charge is started on: their times by our own clock, and how much one session may hold.
"""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.session.holds import (
    LONGEST,
    SHORTEST,
    UNITS_PER_EUR,
    amount_problem,
    hold_deadline,
    most_minor,
    settle_by,
    stop_by,
    time_problem,
    top_up_time_problem,
    top_up_valid_until,
    valid_until,
)
from app.domain.session.machine import SendStop
from app.domain.session.next_step import decide
from app.domain.session.payment_session import Authorization, TopUp
from app.domain.units.money import EXPONENTS, exponent
from tests.domain.sessions import POLICY, T0, after, new_session, running

DAYS = timedelta(days=2)
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
moments = (
    st.none()
    | st.sampled_from([FIRST, datetime(1970, 1, 1, tzinfo=UTC), datetime(2000, 1, 1, tzinfo=UTC), LAST, T0])
    | st.integers(-40 * 86_400, 90 * 86_400).map(after)
    | st.datetimes(timezones=st.just(UTC))
)


def held(authorized_at: datetime | None = None, expires_at: datetime | None = None) -> Authorization:
    return Authorization(
        reference="A", amount_minor=2000, currency="EUR", authorized_at=authorized_at, expires_at=expires_at
    )


@given(moments, moments, st.integers(1, 60))
def test_F102_whatever_times_a_terminal_sends_an_accepted_hold_lasts_long_enough_and_not_too_long(
    authorized_at: datetime | None, expires_at: datetime | None, days: int
) -> None:
    hold = held(authorized_at, expires_at)
    problem = time_problem(hold, T0, timedelta(days=days))
    until = valid_until(hold, T0, timedelta(days=days))
    assert until <= T0 + max(LONGEST, timedelta(days=days))
    if problem is None:
        assert until >= T0 + SHORTEST
        session = new_session(authorization=hold, hold_days=days)
        assert hold_deadline(session, POLICY) == until
        assert T0 < stop_by(session, POLICY) < settle_by(session, POLICY) < until
        begun = running(0, 10, authorization=hold, hold_days=days).session
        assert not isinstance(decide(begun, POLICY, after(20)), SendStop), (
            "never started to be stopped at once"
        )
    else:
        assert problem.field in ("authorized_at", "expires_at")


@pytest.mark.parametrize("off", [timedelta(days=d) for d in (-20_000, -9_800, -7, -3, -1.01, 1.01, 7, 400)])
def test_F102_a_clock_that_is_days_off_starts_nothing(off: timedelta) -> None:
    for expires_at in (None, T0 + off + DAYS):
        problem = time_problem(held(T0 + off, expires_at), T0, DAYS)
        assert problem is not None
        assert problem.field == "authorized_at"


@pytest.mark.parametrize("off_h", [-23, -9, -1, 0, 1, 9, 23])
def test_F102_a_clock_that_is_hours_off_never_makes_a_hold_longer(off_h: int) -> None:
    told_at = T0 + timedelta(hours=off_h)
    assert time_problem(held(told_at), T0, DAYS) is None
    assert valid_until(held(told_at), T0, DAYS) == min(told_at, T0) + DAYS
    said = held(told_at, told_at + timedelta(days=5))
    assert valid_until(said, T0, DAYS) <= T0 + timedelta(days=5)


def test_F102_a_hold_that_is_over_or_nearly_so_starts_nothing() -> None:
    for seconds in (-86_400, -1, 0, 1, 60, 119):
        problem = time_problem(held(None, after(seconds)), T0, DAYS)
        assert problem is not None
        assert problem.field == "expires_at"
        assert top_up_time_problem(after(seconds), T0, DAYS) is not None
    assert time_problem(held(None, after(120)), T0, DAYS) is None
    assert time_problem(held(after(-86_300)), T0, timedelta(days=1)) is not None, "by the policy's days"
    assert time_problem(held(after(-50), after(-60)), T0, DAYS) is not None


def test_F102_an_expiry_that_no_hold_has_says_nothing() -> None:
    for far in (LAST, T0 + LONGEST + timedelta(seconds=1)):
        assert valid_until(held(None, far), T0, DAYS) == T0 + DAYS
        assert top_up_valid_until(far, T0, DAYS) == T0 + DAYS
    assert valid_until(held(None, T0 + LONGEST), T0, DAYS) == T0 + LONGEST


def test_F105_a_hold_without_expiry_is_valid_for_two_days_or_for_the_schemes_days_by_policy() -> None:
    assert hold_deadline(new_session(), POLICY) == T0 + timedelta(days=2)
    assert hold_deadline(new_session(hold_days=1), POLICY) == T0 + timedelta(days=1)
    later = TopUp(reference="B", amount_minor=1, at=after(60))
    assert hold_deadline(new_session(top_ups=(later,), hold_days=5), POLICY) == T0 + timedelta(days=5)


ORDINARY = {"EUR": 50_00, "GBP": 50_00, "USD": 60_00, "SEK": 600_00, "DKK": 400_00, "NOK": 700_00}
ORDINARY |= {"PLN": 250_00, "CZK": 1_500_00, "HUF": 30_000_00, "ISK": 10_000, "JPY": 10_000, "KRW": 100_000}
ORDINARY |= {"IDR": 1_500_000_00, "VND": 2_000_000, "CLP": 60_000, "COP": 300_000_00, "KWD": 20_000}
ORDINARY |= {"RSD": 8_000_00, "TRY": 3_000_00, "INR": 6_000_00, "IRR": 60_000_000_00, "LBP": 5_000_000_00}


@pytest.mark.parametrize("currency", ORDINARY)
def test_F105_ordinary_amounts_are_possible_in_each_currency_and_absurd_ones_in_none(currency: str) -> None:
    most = most_minor(currency, POLICY)
    usual = ORDINARY[currency]
    assert amount_problem(3 * usual, most, currency) is None
    assert amount_problem(100 * usual, most, currency) is not None
    assert amount_problem(most, most, currency) is None
    assert amount_problem(most + 1, most, currency) is not None


def test_F105_the_ceiling_is_a_thousand_euros_or_the_operators_own() -> None:
    assert most_minor("EUR", POLICY) == 1_000_00
    assert most_minor("EUR", POLICY, 250) == 250_00
    assert most_minor("JPY", POLICY, 500) == 100_000
    for currency in EXPONENTS:
        assert most_minor(currency, POLICY) >= 1000 * 10 ** exponent(currency)
        assert most_minor(currency, POLICY) < 10**12


def test_F105_each_currency_of_the_table_is_one_and_stands_once() -> None:
    codes = [code for each in UNITS_PER_EUR.values() for code in each.split()]
    assert len(codes) == len(set(codes))
    assert set(codes) <= set(EXPONENTS)
