"""The clock by which everything above the domain reads and waits."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """The one source of time, and the only way to wait. Wall time for due times and leases, monotonic time for the
    send guard."""

    def now(self) -> datetime:
        """The present, aware and in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary origin; never steps back, for measuring durations."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns once `seconds` of this clock have passed."""
        ...


UNBROKEN = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Counts suspended time too, where the machine has such a clock: the send guard must include it."""


def utc_now() -> datetime:
    """The machine's wall clock, for the origin of a clock. Due times and leases use a Clock."""
    return datetime.now(UTC)


def monotonic_s() -> float:
    """Returns real seconds since an arbitrary origin. For bounds of waits that no Clock measures."""
    return time.monotonic()


class SystemClock:
    """The machine's time at the start, carried on by its monotonic clock. Plus an offset to the database's.

    So a step of the machine's wall clock (NTP, manual, a daylight-saving patch) moves no lease and no quiet window.
    """

    def __init__(self, offset: timedelta = timedelta()) -> None:
        self.offset = offset
        self._began_at = utc_now()
        self._began_s = self.monotonic()

    def now(self) -> datetime:
        return self._began_at + timedelta(seconds=self.monotonic() - self._began_s) + self.offset

    def monotonic(self) -> float:
        return time.clock_gettime(UNBROKEN)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class ScaledClock:
    """Time that runs `speed` times faster than the machine's. From `origin` on: an hour's charge in a minute.

    Processes with the same origin and speed read the same time.
    """

    def __init__(self, speed: float, origin: datetime) -> None:
        self.speed = speed
        self.origin = origin

    def now(self) -> datetime:
        return self.origin + (utc_now() - self.origin) * self.speed

    def monotonic(self) -> float:
        return monotonic_s() * self.speed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds) / self.speed)
