"""When a delivery that was not taken is sent again, and when it is given up."""

from datetime import datetime, timedelta

FIRST = timedelta(seconds=5)
MINUTES = 5
"""Pauses of a minute that follow the first one; then hourly."""
HOURLY_UNTIL = timedelta(days=1)
"""The age of an event until which it is sent hourly; then daily."""
GIVEN_UP = timedelta(days=7)
"""The age of an event at which it is not sent again."""
LONG_FAILING = timedelta(minutes=10)


def next_attempt(created_at: datetime, attempts: int, now: datetime) -> datetime | None:
    """Returns when to send an event again after this many attempts. None: it is given up."""
    age = now - created_at
    if attempts <= 1:
        pause = FIRST
    elif attempts <= 1 + MINUTES:
        pause = timedelta(minutes=1)
    else:
        pause = timedelta(hours=1) if age < HOURLY_UNTIL else timedelta(days=1)
    return now + pause if age + pause <= GIVEN_UP else None


def quiet_until(failing_since: datetime, now: datetime) -> datetime:
    """Returns until when nothing is sent to an endpoint whose last deliveries all failed. However many events wait."""
    return now + (FIRST if now - failing_since < LONG_FAILING else timedelta(minutes=1))
