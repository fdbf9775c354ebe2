"""Waits for changes of a session. Long polls are woken by the database's notifications, and poll as a fallback."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import TypeVar

MAX_WAIT_S = 30
POLL_AGAIN_S = 1.0
"""Longest delay in seconds when a notification is lost."""

T = TypeVar("T")


class SessionChanges:
    """Keeps which session is waited for in this process."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._closing = asyncio.Event()

    def notify(self, session_id: str) -> None:
        """Wakes the waiters of a session. An empty id wakes all (the listener was disconnected for a while)."""
        waiting = self._waiting.get(session_id, set()) if session_id else set().union(*self._waiting.values())
        for event in waiting:
            event.set()

    def close(self) -> None:
        """Answers all waiters now, since the process ends."""
        self._closing.set()
        self.notify("")

    @property
    def closed(self) -> bool:
        return self._closing.is_set()

    async def closed_within(self, seconds: float) -> bool:
        """Waits until the process ends, for `seconds` at most; returns whether it does."""
        await _first(self._closing, seconds)
        return self.closed

    async def wait_for(
        self, session_id: str, seconds: float, look: Callable[[], Awaitable[T]], enough: Callable[[T], bool]
    ) -> T:
        """Reads, and reads again at each change, until it is `enough` or the time is over. MAX_WAIT_S at most."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + min(seconds, MAX_WAIT_S)
        changed = asyncio.Event()
        self._waiting[session_id].add(changed)
        try:
            while True:
                changed.clear()
                seen = await look()
                left = ends_at - loop.time()
                if enough(seen) or left <= 0 or self._closing.is_set():
                    return seen
                await _first(changed, min(left, POLL_AGAIN_S))
        finally:
            self._waiting[session_id].discard(changed)
            if not self._waiting[session_id]:
                del self._waiting[session_id]


async def _first(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
