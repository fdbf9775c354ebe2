"""A clock that advances only when every task waits for it."""

import asyncio
import heapq
from datetime import UTC, datetime, timedelta
from itertools import count

ORIGIN = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
TURNS = 50
"""Turns of the event loop before time passes: enough for calls that stay within the process."""


class IdleClock:
    """Time passes only in `sleep` and `advance`; the earliest sleeper wakes first."""

    def __init__(self, origin: datetime = ORIGIN) -> None:
        self.origin = origin
        self.passed_s = 0.0
        self._sleepers: list[tuple[float, int]] = []
        self._numbers = count()

    def now(self) -> datetime:
        return self.origin + timedelta(seconds=self.passed_s)

    def monotonic(self) -> float:
        return self.passed_s

    def advance(self, seconds: float) -> None:
        self.passed_s += seconds

    async def sleep(self, seconds: float) -> None:
        me = (self.passed_s + max(0.0, seconds), next(self._numbers))
        heapq.heappush(self._sleepers, me)
        try:
            while True:
                for _ in range(TURNS):
                    await asyncio.sleep(0)
                if self._sleepers[0] == me:
                    self.passed_s = max(self.passed_s, me[0])
                    return
        finally:
            self._sleepers.remove(me)
            heapq.heapify(self._sleepers)
