"""Keeps for a moment whom API keys stand for, so that busy callers cost no query each time."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

KEPT_S = 0.9
"""Seconds from before a key is looked up: a revoked key is refused within a second, also when no notification comes."""
MOST_KEYS = 10_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Known(Generic[T]):
    owner: T
    until_s: float


class KnownKeys(Generic[T]):
    """Owners by the hash of their key. `now_s` is monotonic time. Unknown keys are not kept.

    What may end at a time of its own, such as a key that expires, is checked by the caller at each use.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, _Known[T]] = {}
        self._forgotten = 0

    async def find(
        self, key_hash: bytes, now_s: float, look_up: Callable[[], Awaitable[T | None]]
    ) -> T | None:
        """Returns whom the key stands for, looked up unless that was done a moment ago."""
        known = self._known.get(key_hash)
        if known is not None and now_s < known.until_s:
            return known.owner
        forgotten = self._forgotten
        owner = await look_up()
        if owner is not None and forgotten == self._forgotten:
            if len(self._known) >= MOST_KEYS:
                self._known.clear()
            self._known[key_hash] = _Known(owner, now_s + KEPT_S)
        return owner

    def forget(self) -> None:
        """Forgets all keys, and those being looked up now: some key was revoked or changed."""
        self._forgotten += 1
        self._known.clear()
