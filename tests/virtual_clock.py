"""A clock that advances only on request: sleepers wake in order of their time, nothing really sleeps."""

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

BEGINNING = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
_TURNS = 25
"""Turns of the event loop that a woken sleeper gets before time moves on."""

Settle = Callable[[], Awaitable[None]]


async def let_tasks_run() -> None:
    """Enough turns of the loop for woken tasks to come to their next wait; no real time passes."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


class VirtualClock:
    """Implements `app.clock.Clock`. `settle` lets woken tasks run: pass another one when they do real I/O."""

    def __init__(self, now: datetime = BEGINNING, settle: Settle = let_tasks_run) -> None:
        self._start = self._now = now
        self._stepped = timedelta()
        self._settle = settle
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> datetime:
        return self._now + self._stepped

    def monotonic(self) -> float:
        return (self._now - self._start).total_seconds()

    async def sleep(self, seconds: float) -> None:
        """Returns once the clock has been moved that far; at once for 0 or less."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        self._count += 1
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + timedelta(seconds=seconds), self._count, woken))
        await woken

    def next_wake_at(self) -> datetime | None:
        """When the first sleeper is due."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def step(self, by: timedelta) -> None:
        """Steps the wall clock alone, as a correction by NTP does; no time passes, and the monotonic clock stays."""
        self._stepped += by

    def set(self, now: datetime) -> None:
        """Sets the clock to `now` without waking any sleeper; never backwards."""
        assert now >= self.now(), "time does not run backwards"
        self._now = now - self._stepped

    async def advance(self, seconds: float) -> None:
        """Move on by `seconds`, waking every sleeper at its own time, in order."""
        await self.advance_to(self.now() + timedelta(seconds=seconds))

    async def advance_to(self, until: datetime) -> None:
        """Move on to `until`, waking every sleeper at its own time, in order."""
        until -= self._stepped
        await self._settle()
        while (due := self.next_wake_at()) is not None and due <= until:
            _, _, woken = heapq.heappop(self._sleepers)
            self._now = max(self._now, due)
            woken.set_result(None)
            await self._settle()
        self._now = max(self._now, until)
        await self._settle()
