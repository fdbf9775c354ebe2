"""Event loop with virtual time that runs one member at a time: the same seed gives the same history."""

import asyncio
import selectors
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

BEGINNING = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
STUCK_S = 60
"""Real seconds after which an answer of the database is overdue."""


QUICK_S = 0.002
"""Real seconds after which an unanswered statement may be waiting for a lock."""


class Standstill(RuntimeError):
    """Deadlock: no member can go on and no timer is set."""


class WorldLoop(asyncio.SelectorEventLoop):
    """Virtual time stands still while any task is ready. When all wait, `choose` may let one go on; otherwise time
    jumps to the next timer. So asyncio's own timeouts and sleeps are virtual too."""

    def __init__(self) -> None:
        self.virtual_s = 0.0
        self.choose: Callable[[], bool] = lambda: False
        self.lock_waits: Callable[[], int] = lambda: 0
        """Number of this database's statements that wait for a lock, from PostgreSQL itself."""
        self.let_pass = 0
        """Number of times others went on because every statement under way waited for a lock."""
        self._waits_for_io = 0
        self._paused_in_io = 0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.virtual_s

    def begin_anew(self) -> None:
        """Resets time for the next world: all tasks are gone, and planned timers are dropped. Exactly to zero, or
        two runs of a seed would round differently."""
        self._scheduled: list[Any]  # asyncio's heap of timers
        self._scheduled.clear()
        self.virtual_s = 0.0

    @contextmanager
    def io(self) -> Iterator[None]:
        """While inside, the loop waits for the real database and time stands still."""
        self._waits_for_io += 1
        try:
            yield
        finally:
            self._waits_for_io -= 1

    @contextmanager
    def pause_in_io(self) -> Iterator[None]:
        """While inside `io`, waits for something other than the database, so that others may go on."""
        self._waits_for_io -= 1
        self._paused_in_io += 1
        try:
            yield
        finally:
            self._paused_in_io -= 1
            self._waits_for_io += 1

    @property
    def waits_for_io(self) -> bool:
        return self._waits_for_io > 0

    @property
    def statements_under_way(self) -> int:
        return self._waits_for_io

    @property
    def locks_may_be_kept(self) -> bool:
        """Whether a transaction is open in which no statement is under way. Only such a one keeps locks for long."""
        return self._paused_in_io > 0


class _Selector(selectors.BaseSelector):
    """Called by asyncio to wait when no callback is ready, that is when all members wait."""

    def __init__(self, loop: WorldLoop) -> None:
        self._loop = loop
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout == 0:
            return []  # what is ready runs first, whether or not the database has answered meanwhile
        if self._loop.waits_for_io:
            return self._answer(timeout)
        if not self._somebody_goes_on(timeout):
            raise Standstill("no member can go on, and no timer is set")
        return []

    def _somebody_goes_on(self, timeout: float | None) -> bool:
        """Lets the chosen member go on, or advances to the next timer."""
        if self._loop.choose():
            return True
        self._loop.virtual_s += timeout or 0.0
        return timeout is not None

    def _answer(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        """Waits for the database. When all statements under way wait for locks, lets another member go on;
        PostgreSQL is asked instead of guessing from elapsed time, so that a seed replays exactly."""
        began = time.monotonic()
        while time.monotonic() < began + STUCK_S:
            ready = self._real.select(QUICK_S if self._loop.locks_may_be_kept else STUCK_S)
            if ready:
                return ready
            all_wait = self._loop.lock_waits() == self._loop.statements_under_way
            if all_wait and self._somebody_goes_on(timeout):
                self._loop.let_pass += 1
                return []
        raise Standstill("the database did not answer; does a transaction wait for something else?")

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def close(self) -> None:
        self._real.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()


RATES = (0.75, 1.0, 1.25)
"""Seconds of the monotonic clock in one second of wall time: far more than clocks drift, so that a guard that is
measured by the wrong one shows."""


def monotonic_rate(seed: int) -> float:
    """How fast the monotonic clock of this world runs."""
    return Random(f"clocks {seed}").choice(RATES)


class WorldClock:
    """Implements `app.clock.Clock` with the loop's time; each world begins at BEGINNING.

    The monotonic clock has an origin and a rate of its own, drawn from the seed.
    """

    def __init__(self, loop: WorldLoop, seed: int) -> None:
        self._loop = loop
        self._rate = monotonic_rate(seed)
        self._origin_s = Random(f"origin {seed}").uniform(0, 1e6)

    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        return self._origin_s + self._loop.time() * self._rate

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
