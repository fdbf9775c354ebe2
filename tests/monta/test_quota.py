"""app/monta/transport: Monta's rate-limit headers, well formed or not."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.monta.ports import QuotaSeen
from app.monta.transport import MAX_BLOCK_S, MAX_COUNT, blocked_until, quota_seen
from tests.monta.random_runs import patient

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
NAMES = [
    "Retry-After",
    "RateLimit-Policy",
    "RateLimit-Quota",
    "RateLimit-TimeWindow",
    "RateLimit-Remaining",
    "RateLimit-ResetsIn",
]


def blocked_s(headers: dict[str, str], in_a_row: int = 1) -> float:
    return (blocked_until(headers, NOW, in_a_row=in_a_row) - NOW).total_seconds()


def test_the_documented_headers_are_read_in_any_case() -> None:
    headers = {
        "RateLimit-Policy": "Quota",
        "ratelimit-quota": "1000",
        "RATELIMIT-TIMEWINDOW": "600",
        "RateLimit-Remaining": "997",
        "RateLimit-ResetsIn": "12.5",
    }
    assert quota_seen(headers) == QuotaSeen(1000, 600, 997, 13)


def test_without_such_headers_or_under_fair_use_nothing_was_seen() -> None:
    assert quota_seen({"content-type": "application/json"}) is None
    assert quota_seen({"RateLimit-Policy": "Fair-Use", "RateLimit-Remaining": "5"}) is None


def test_garbage_in_one_header_does_not_hide_the_others() -> None:
    headers = {"RateLimit-Quota": "lots", "RateLimit-Remaining": "-1", "RateLimit-ResetsIn": "30"}
    assert quota_seen(headers) == QuotaSeen(None, None, None, 30)


def test_a_quota_larger_than_can_be_used_counts_as_the_largest() -> None:
    headers = {
        "RateLimit-Quota": "1" + "0" * 9,
        "RateLimit-Remaining": "9" * 8,
        "RateLimit-ResetsIn": "9" * 8,
    }
    assert quota_seen(headers) == QuotaSeen(MAX_COUNT, None, MAX_COUNT, None)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7", "RateLimit-ResetsIn": "30"}, 7),
        ({"Retry-After": "Sun, 22 Nov 2026 10:00:42 GMT"}, 42),
        ({"Retry-After": "Sun, 22 Nov 2026 09:00:00 GMT"}, 1),
        ({"Retry-After": "soon", "RateLimit-ResetsIn": "30"}, 30),
        ({"RateLimit-ResetsIn": "30"}, 30),
        ({"Retry-After": "0"}, 1),
        ({"Retry-After": "999999"}, MAX_BLOCK_S),
    ],
)
def test_a_429_blocks_for_as_long_as_it_says_within_bounds_f26(headers: dict[str, str], seconds: int) -> None:
    assert blocked_s(headers) == seconds


def test_a_429_that_says_nothing_blocks_longer_each_time_up_to_a_bound() -> None:
    assert [blocked_s({}, n) for n in (1, 2, 3, 4, 100)] == [5, 10, 20, 40, 300]


@patient
@given(
    st.dictionaries(st.sampled_from(NAMES), st.text(max_size=40) | st.integers().map(str)),
    st.integers(1, 10**6),
)
def test_no_header_breaks_or_blocks_beyond_the_bound(headers: dict[str, str], in_a_row: int) -> None:
    quota_seen(headers)
    assert timedelta(seconds=1) <= blocked_until(headers, NOW, in_a_row=in_a_row) - NOW <= timedelta(hours=1)
