"""Computes the availability of charge points and terminals from their outages."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from app.domain.units.frozen import frozen

OFFLINE_AFTER = timedelta(minutes=5)
"""A terminal that sends heartbeats is offline when the last one is older."""
OFFLINE, OUT_OF_ORDER, DELETED = "offline", "out_of_order", "deleted"
"""Causes beside Monta's states."""


@frozen(kw_only=True)
class Outage:
    """One interval out of service; `ended_at` is None while it lasts."""

    cause: str
    began_at: datetime
    ended_at: datetime | None = None

    def lasted(self, now: datetime) -> timedelta:
        return (self.ended_at or now) - self.began_at


@frozen(kw_only=True)
class Window:
    """The time from `start` to `end`."""

    start: datetime
    end: datetime


@frozen(kw_only=True)
class Availability:
    """`observed`: the part of the window in which its state was known; `out`: the part of that out of service."""

    observed: timedelta
    out: timedelta

    @property
    def percent(self) -> str | None:
        """In two decimals, rounded down: `100.00` means never out. None: nothing was observed."""
        if not self.observed:
            return None
        hundredths = (self.observed - self.out) * 10_000 // self.observed
        return f"{hundredths // 100}.{hundredths % 100:02d}"


def month_of(moment: datetime) -> Window:
    """The calendar month (UTC) of a time."""
    start = moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return Window(start=start, end=(start + timedelta(days=32)).replace(day=1))


def availability(
    window: Window, known_since: datetime | None, outages: Iterable[Outage], now: datetime
) -> Availability:
    """Availability within a window, as far as it has passed. Overlapping outages count once."""
    end = min(window.end, now)
    start = end if known_since is None else max(window.start, known_since)
    out, counted_until = timedelta(), start
    for each in sorted(outages, key=lambda outage: outage.began_at):
        until = min(each.ended_at or end, end)
        out += max(timedelta(), until - max(each.began_at, counted_until))
        counted_until = max(counted_until, until)
    return Availability(observed=max(timedelta(), end - start), out=out)


def silence(reported_at: datetime | None, outages: Iterable[Outage], now: datetime) -> Outage | None:
    """Returns the outage of a terminal whose heartbeat is missing. Unless another outage of it lasts."""
    if reported_at is None or now - reported_at <= OFFLINE_AFTER or any(o.ended_at is None for o in outages):
        return None
    return Outage(cause=OFFLINE, began_at=reported_at)
