"""Waits for changes of sessions. Long polls are woken by the database's notifications; a sweep is the fallback."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, TypeVar

import structlog

from app.store.db import scope
from app.store.db.database import DATABASE_ERRORS

MAX_WAIT_S = 30
SWEEP_S = 1.0
"""Longest delay in seconds when a notification is lost. One sweep looks at all sessions that are waited for."""
SWEPT_AT_ONCE = 1_000
"""Sessions of one statement of a sweep."""
MOST_OF_ONE_CALLER = 200
"""Long polls of one terminal at once: as many as a terminal has charge points, and more."""
MOST_WAITING = 10_000
"""Long polls of a process at once. Then new ones are refused, and asked to come again."""

log = structlog.get_logger("live")


class Versioned(Protocol):
    """What is read again at each change."""

    @property
    def version(self) -> int: ...


T = TypeVar("T", bound=Versioned)

Versions: TypeAlias = Callable[[Sequence[str]], Awaitable[Mapping[str, int]]]
"""Reads the versions of sessions, all with one statement."""


class TooManyWaits(Exception):
    """This terminal has all the long polls that it may have."""


class TooManyPolls(Exception):
    """Too many calls wait for changes. Or the process is overloaded."""

    def __init__(self) -> None:
        super().__init__("too many calls wait for changes; ask without waiting, or again later")


@dataclass(slots=True, eq=False)
class _Waiter:
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    version: int = 0
    """The version that it saw last."""


class SessionChanges:
    """Keeps which sessions are waited for in this process."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[_Waiter]] = {}
        self._polls: Counter[str] = Counter()
        """Long polls by who waits."""
        self._sweeping: asyncio.Task[None] | None = None
        self._sweep_now = asyncio.Event()
        self._closing = asyncio.Event()

    @property
    def has_room(self) -> bool:
        """Whether one more call may wait."""
        return self._polls.total() < MOST_WAITING

    def notify(self, session_ids: str) -> None:
        """Wakes the waiters of sessions, separated by commas. No id looks at all of them now (the listener was
        disconnected for a while)."""
        if not session_ids:
            self._sweep_now.set()
        for session_id in session_ids.split(","):
            for waiter in self._waiting.get(session_id, ()):
                waiter.changed.set()

    def close(self) -> None:
        """Answers all waiters now, since the process ends."""
        self._closing.set()
        for session_id in self._waiting:
            self.notify(session_id)

    @property
    def closed(self) -> bool:
        return self._closing.is_set()

    async def closed_within(self, seconds: float) -> bool:
        """Waits `seconds` at most for the process's end. Returns whether it ends."""
        await _first(self._closing, seconds)
        return self.closed

    async def wait_for(
        self,
        session_id: str,
        seconds: float,
        look: Callable[[], Awaitable[T]],
        enough: Callable[[T], bool],
        versions: Versions,
        *,
        by: str,
    ) -> T:
        """Reads at each change until it is `enough` or time is over. MAX_WAIT_S at most.

        `by`: the caller. Raises TooManyPolls, TooManyWaits.
        """
        if not self.has_room:
            raise TooManyPolls
        if self._polls[by] >= MOST_OF_ONE_CALLER:
            raise TooManyWaits
        loop, waiter = asyncio.get_running_loop(), _Waiter()
        ends_at = loop.time() + min(seconds, MAX_WAIT_S)
        self._join(session_id, waiter, versions, by)
        try:
            while True:
                waiter.changed.clear()
                seen = await look()
                waiter.version = seen.version
                left = ends_at - loop.time()
                if enough(seen) or left <= 0 or self.closed:
                    return seen
                await _first(waiter.changed, left)
        finally:
            self._leave(session_id, waiter, by)

    def _join(self, session_id: str, waiter: _Waiter, versions: Versions, by: str) -> None:
        self._polls[by] += 1
        self._waiting.setdefault(session_id, set()).add(waiter)
        if self._sweeping is None:
            self._sweeping = asyncio.create_task(self._sweep(versions))

    def _leave(self, session_id: str, waiter: _Waiter, by: str) -> None:
        self._polls[by] -= 1
        if not self._polls[by]:
            del self._polls[by]
        self._waiting[session_id].discard(waiter)
        if not self._waiting[session_id]:
            del self._waiting[session_id]
        if not self._waiting and self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    async def _sweep(self, versions: Versions) -> None:
        """Wakes waiters whose session has another version by now. While anything is waited for."""
        scope.narrow(None)  # of every operator: the task was begun by the request of one
        while True:
            await _first(self._sweep_now, SWEEP_S)
            self._sweep_now.clear()
            waited_for = tuple(self._waiting)
            try:
                for n in range(0, len(waited_for), SWEPT_AT_ONCE):
                    ids = waited_for[n : n + SWEPT_AT_ONCE]
                    self._wake_changed(ids, await versions(ids))
            except DATABASE_ERRORS as error:
                log.warning("sweep_failed", error=type(error).__name__)

    def _wake_changed(self, ids: Sequence[str], versions: Mapping[str, int]) -> None:
        for session_id in ids:
            for waiter in self._waiting.get(session_id, ()):
                if waiter.version != versions.get(session_id):
                    waiter.changed.set()


async def _first(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
