"""Tests of app/domain/events/retries."""

from datetime import timedelta

from app.domain.events.retries import GIVEN_UP, next_attempt, quiet_until
from tests.domain.sessions import after


def test_it_is_sent_again_after_5_s_then_5_times_a_minute_apart_hourly_daily_for_7_days() -> None:
    at, pauses = after(0), []
    attempts = 1
    while (again := next_attempt(after(0), attempts, at)) is not None:
        pauses.append((again - at).total_seconds())
        at, attempts = again, attempts + 1
    assert pauses == [5, *[60] * 5, *[3600] * 24, *[86400] * 5]
    assert GIVEN_UP - timedelta(days=1) < at - after(0) <= GIVEN_UP


def test_what_waited_for_days_before_its_first_attempt_is_not_sent_beyond_its_age() -> None:
    created = after(0)
    assert next_attempt(created, 1, created + timedelta(days=6)) == created + timedelta(days=6, seconds=5)
    assert next_attempt(created, 1, created + GIVEN_UP) is None


def test_an_endpoint_that_fails_for_long_is_left_alone_for_longer() -> None:
    assert quiet_until(after(0), after(5)) == after(10)
    assert quiet_until(after(0), after(600)) == after(660)
