"""What Monta says about its quota: the rate-limit headers of every answer, and how long a 429 blocks."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from app.monta.ports import QuotaSeen

MAX_COUNT = 1_000_000
MAX_BLOCK_S = 3600
"""No header blocks for longer: an absurd one must not keep stops from going out for ever."""

FIRST_BLOCK_S = 5
"""The block after a 429 that says nothing; doubles with each further one in a row, up to
`MAX_SILENT_BLOCK_S`."""

MAX_SILENT_BLOCK_S = 300


def quota_seen(headers: Mapping[str, str]) -> QuotaSeen | None:
    """The quota headers (reference, Integration notes), names in any case; None when none of them makes
    sense.

    Under the policy Fair-Use there is no number to count by, whatever else the answer carries.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    if lower.get("ratelimit-policy", "").strip().lower() == "fair-use":
        return None
    seen = QuotaSeen(
        limit=_count(lower.get("ratelimit-quota")),
        window_s=_count(lower.get("ratelimit-timewindow")),
        remaining=_count(lower.get("ratelimit-remaining")),
        resets_in_s=_count(lower.get("ratelimit-resetsin")),
    )
    return None if seen == QuotaSeen(None, None, None, None) else seen


def blocked_until(headers: Mapping[str, str], now: datetime, *, in_a_row: int) -> datetime:
    """Until when a 429 blocks: Retry-After (seconds or an HTTP date), else RateLimit-ResetsIn, else longer
    and longer with the number of 429s in a row; between one second and `MAX_BLOCK_S`."""
    lower = {name.lower(): value for name, value in headers.items()}
    told = _retry_after_s(lower.get("retry-after"), now)
    if told is None:
        told = _count(lower.get("ratelimit-resetsin"))
    if told is None:
        told = min(FIRST_BLOCK_S * 2 ** min(in_a_row - 1, 10), MAX_SILENT_BLOCK_S)
    return now + timedelta(seconds=min(max(told, 1), MAX_BLOCK_S))


def _retry_after_s(value: str | None, now: datetime) -> int | None:
    seconds = _count(value)
    if seconds is not None or value is None:
        return seconds
    try:
        when = parsedate_to_datetime(value)
        if when.tzinfo is None:  # "-0000": UTC, as the standard says
            when = when.replace(tzinfo=UTC)
        return int((when - now).total_seconds())
    except (ValueError, OverflowError):
        return None


def _count(value: str | None) -> int | None:
    """A whole number from 0 to MAX_COUNT; a fraction is rounded up."""
    whole, _, fraction = (value or "").strip().partition(".")
    if not (whole.isascii() and whole.isdigit() and len(whole) <= 7 and (not fraction or fraction.isdigit())):
        return None
    number = int(whole) + (1 if fraction.strip("0") else 0)
    return number if number <= MAX_COUNT else None
