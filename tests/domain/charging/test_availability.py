"""Availability: the share of the observed time, outages counted once, months by the calendar."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.charging.availability import (
    OFFLINE_AFTER,
    Outage,
    Window,
    availability,
    month_of,
    silence,
)

START = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = Window(start=START, end=START + 24 * HOUR)


def out(begins_h: float, ends_h: float | None) -> Outage:
    ended = None if ends_h is None else START + ends_h * HOUR
    return Outage(cause="error", began_at=START + begins_h * HOUR, ended_at=ended)


@pytest.mark.parametrize(
    ("outages", "percent"),
    [
        ([], "100.00"),
        ([out(6, 12)], "75.00"),
        ([out(-5, 6)], "75.00"),  # it began before the window
        ([out(18, None)], "75.00"),  # it lasts
        ([out(18, 99)], "75.00"),  # it ended after the window
        ([out(0, 6), out(2, 4), out(5, 12)], "50.00"),  # overlapping ones count once
        ([out(0, 0.001)], "99.99"),  # rounded down: 100.00 is never out
        ([out(-1, 99)], "0.00"),
    ],
)
def test_the_share_of_a_day(outages: list[Outage], percent: str) -> None:
    assert availability(DAY, START - HOUR, outages, START + 100 * HOUR).percent == percent


def test_only_the_time_that_has_passed_and_was_observed_counts() -> None:
    found = availability(DAY, START + 4 * HOUR, [out(1, 6)], START + 8 * HOUR)
    assert (found.observed, found.out, found.percent) == (4 * HOUR, 2 * HOUR, "50.00")


@pytest.mark.parametrize("known_since", [None, START + 30 * HOUR])
def test_what_was_not_observed_has_no_share(known_since: datetime | None) -> None:
    assert availability(DAY, known_since, [out(1, 2)], START + 100 * HOUR).percent is None


@given(
    spans=st.lists(st.tuples(st.integers(-30, 60), st.integers(0, 40)), max_size=8),
    since=st.integers(-30, 30),
    now=st.integers(-10, 60),
)
def test_every_minute_is_in_or_out_once(spans: list[tuple[int, int]], since: int, now: int) -> None:
    outages = [out(begin, begin + length) for begin, length in spans]
    found = availability(DAY, START + since * HOUR, outages, START + now * HOUR)
    observed = range(max(0, since), min(24, now))
    outside = [h for h in observed if any(b <= h < b + n for b, n in spans)]
    assert (found.observed, found.out) == (len(observed) * HOUR, len(outside) * HOUR)


def test_a_month_is_the_calendars() -> None:
    found = month_of(datetime(2026, 12, 31, 23, 59, tzinfo=UTC))
    assert (found.start, found.end) == (datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


def test_a_terminal_is_silent_after_five_minutes_unless_it_is_out_anyway() -> None:
    late = START + OFFLINE_AFTER + timedelta(seconds=1)
    assert silence(START, [], START + OFFLINE_AFTER) is None
    assert silence(START, [], late) == Outage(cause="offline", began_at=START)
    assert silence(START, [out(0, None)], late) is None
    assert silence(None, [], late) is None
