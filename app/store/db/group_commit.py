"""Joins deliveries, payments and others in one transaction (group commit)."""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")

Write: TypeAlias = Callable[[Sequence[T]], Awaitable[None]]
Bound: TypeAlias = Callable[[T, Sequence[T]], bool]
Pause: TypeAlias = Callable[[float], float]

MOST_TOGETHER = 64
"""Items in one transaction at most."""
MOST_WAITING = 1_000
"""Items of one group that wait at most. Then new ones are refused, and their senders send them again."""


BESIDE_AFTER_S = 0.005
"""An item waits for others to begin with beside a running transaction for this long at most: that one may wait for a
locked row."""

_TIMER_S = 0.001
"""So much early may timers be."""


class TooManyWaiting(Exception):
    """More items wait for the database than may wait."""

    def __init__(self) -> None:
        super().__init__("too many calls wait; send this one again later")


class _Turn(Enum):
    DONE = "done"
    """The transaction that the item was in has been committed."""
    LEAD = "lead"
    """The item's owner runs the next transaction."""
    ALONE = "alone"
    """The transaction that the item was in has failed: it is tried again by itself."""


@dataclass(slots=True, eq=False)
class _Waiting(Generic[T]):
    item: T
    since_s: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    turn: "asyncio.Future[_Turn]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def go(self, turn: _Turn) -> None:
        if not self.turn.done():
            self.turn.set_result(turn)


class GroupCommit(Generic[T]):
    """Runs `write` for one item at once when idle. What arrives meanwhile is the next batch.

    Each caller returns when its item is written, and raises what its own item raised: a failed batch is written again
    item by item, so that one bad item affects no other.
    """

    def __init__(
        self,
        write: Write[T],
        joins: Bound[T] = lambda item, chosen: True,
        *,
        at_once: int = 1,
        beside: int = 1,
        most_wait_s: float = math.inf,
        pause_s: Pause = lambda took_s: 0.0,
        gathers: bool = False,
    ) -> None:
        """`joins`: whether one more item may be in the transaction of those that are chosen.

        `at_once`: transactions that may run at the same time. `beside`: items with which one begins beside another,
        unless the first of them has waited for BESIDE_AFTER_S.
        `most_wait_s`: while an item has waited this long, new
        ones are refused. `pause_s`: how long the next transaction waits after one that took some seconds.
        `gathers`: a transaction begins once a turn of the event loop has brought no further item.
        """
        self._write = write
        self._joins = joins
        self._most_wait_s = most_wait_s
        self._pause_s = pause_s
        self._gathers = gathers
        self._queue: deque[_Waiting[T]] = deque()
        self._at_once = at_once
        self._beside = beside
        self._running = 0
        self._timer: asyncio.TimerHandle | None = None
        """For the first item that waits, while one more transaction may run."""

    @property
    def is_full(self) -> bool:
        """Whether too many items wait, or the first for too long."""
        if not self._queue:
            return False
        waited_s = asyncio.get_running_loop().time() - self._queue[0].since_s
        return len(self._queue) >= MOST_WAITING or waited_s >= self._most_wait_s

    async def put(self, item: T) -> None:
        """Raises TooManyWaiting, and what `write` raises."""
        if not self._running or (self._beside == 1 and self._running < self._at_once):
            self._running += 1
            await self._lead(_Waiting(item))
            return
        if self.is_full:
            raise TooManyWaiting
        waiting = _Waiting(item)
        self._queue.append(waiting)
        self._begin_next()
        try:
            turn = await waiting.turn
        except asyncio.CancelledError:
            self._leave(waiting)
            raise
        if turn is _Turn.LEAD:
            await self._lead(waiting)
        elif turn is _Turn.ALONE:
            await self._write([item])

    async def _lead(self, first: _Waiting[T]) -> None:
        """Writes the waiting items and its own, then passes the lead."""
        others: list[_Waiting[T]] = []
        turn = _Turn.ALONE
        began_s = asyncio.get_running_loop().time()
        try:
            if self._gathers:
                await self._gather()
            others = self._joining(first.item)
            self._begin_next()
            await self._write([first.item, *(other.item for other in others)])
            turn = _Turn.DONE
        except Exception:
            if not others:
                raise
        finally:
            for other in others:
                other.go(turn)
            pause_s = self._pause_s(asyncio.get_running_loop().time() - began_s)
            if pause_s > 0:
                asyncio.get_running_loop().call_later(pause_s, self._hand_over)
            else:
                self._hand_over()
        if turn is _Turn.ALONE:
            await self._write([first.item])

    async def _gather(self) -> None:
        """Waits until a turn of the event loop brings no further item. Or as many as one transaction takes."""
        seen = -1
        while seen < len(self._queue) < MOST_TOGETHER:
            seen = len(self._queue)
            await asyncio.sleep(0)
            await asyncio.sleep(0)  # who comes in one turn may be called before or after this

    def _joining(self, first: T) -> list[_Waiting[T]]:
        """Takes the waiting items that share the transaction of the first one."""
        others: list[_Waiting[T]] = []
        items = [first]
        while self._queue and len(items) < MOST_TOGETHER and self._joins(self._queue[0].item, items):
            others.append(self._queue.popleft())
            items.append(others[-1].item)
        return others

    def _hand_over(self) -> None:
        self._running -= 1
        self._begin_next()

    def _begin_next(self, *, however_few: bool = False) -> None:
        while self._queue and self._queue[0].turn.done():
            self._queue.popleft()  # it is cancelled, and has not left yet: it would never pass the lead on
        if not self._queue or self._running >= self._at_once:
            return
        if not self._running or len(self._queue) >= self._beside or however_few:
            self._running += 1
            self._queue.popleft().go(_Turn.LEAD)
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._queue[0].since_s + BESIDE_AFTER_S, self._has_waited)

    def _has_waited(self) -> None:
        self._timer = None
        due_s = asyncio.get_running_loop().time() - BESIDE_AFTER_S + _TIMER_S
        self._begin_next(however_few=bool(self._queue) and self._queue[0].since_s <= due_s)

    def _leave(self, waiting: _Waiting[T]) -> None:
        """Removes a cancelled item. Passes the lead on if it was just given."""
        if waiting in self._queue:
            self._queue.remove(waiting)
        elif waiting.turn.done() and not waiting.turn.cancelled() and waiting.turn.result() is _Turn.LEAD:
            self._hand_over()
