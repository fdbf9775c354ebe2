"""Remembers owners of API keys for a moment. So busy callers cost no query each time."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, TypeVar

from app.domain.units.frozen import frozen

KEPT_S = 0.9
"""Seconds from before a key is looked up: a revoked key is refused within a second, also when no notification comes."""
MOST_KEYS = 10_000

T = TypeVar("T")


@frozen
class _Known(Generic[T]):
    owner: T
    until_s: float


class KnownKeys(Generic[T]):
    """Owners by the hash of their key. `now_s` is monotonic time. Unknown keys are not kept.

    What may end at a time of its own, such as a key that expires, is checked by the caller at each use.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, _Known[T]] = {}
        self._asked: dict[bytes, tuple[asyncio.Future[T | None], float]] = {}
        """Lookups under way, and until when others may join them."""
        self._forgotten = 0

    async def find(
        self,
        key_hash: bytes,
        now_s: float,
        look_up: Callable[[], Awaitable[T | None]],
        *,
        urgent: bool = False,
    ) -> T | None:
        """Returns the key's owner, remembered or looked up.

        Callers of one key share a lookup; an `urgent` one has its own, since others may wait for a connection.
        """
        known = self._known.get(key_hash)
        if known is not None and now_s < known.until_s:
            return known.owner
        if urgent:
            return await self._look_up(key_hash, now_s, look_up)
        asked, until_s = self._asked.get(key_hash, (None, 0.0))
        if asked is None or now_s >= until_s:
            asked = asyncio.ensure_future(self._look_up(key_hash, now_s, look_up))
            self._asked[key_hash] = asked, now_s + KEPT_S
            asked.add_done_callback(partial(self._answered, key_hash))
        return await asyncio.shield(asked)

    def forget(self) -> None:
        """Forgets all keys, since one was revoked or changed. Also those being looked up now."""
        self._forgotten += 1
        self._known.clear()
        self._asked.clear()

    async def _look_up(
        self, key_hash: bytes, now_s: float, look_up: Callable[[], Awaitable[T | None]]
    ) -> T | None:
        forgotten = self._forgotten
        owner = await look_up()
        if owner is not None and forgotten == self._forgotten:
            if len(self._known) >= MOST_KEYS:
                self._known.clear()
            self._known[key_hash] = _Known(owner, now_s + KEPT_S)
        return owner

    def _answered(self, key_hash: bytes, asked: "asyncio.Future[T | None]") -> None:
        if self._asked.get(key_hash, (None, 0.0))[0] is asked:
            del self._asked[key_hash]
        if not asked.cancelled():
            asked.exception()  # also where every caller has gone away meanwhile
