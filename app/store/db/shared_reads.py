"""Joins reads that arrive together in one statement."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")
R = TypeVar("R")

MOST_TOGETHER = 64
"""Items of one statement at most."""


Read: TypeAlias = Callable[[Callable[[], Sequence[T]]], Awaitable[R]]
"""Reads what it takes by its argument. From then on it is too late to join."""


@dataclass(slots=True, eq=False)
class _Batch(Generic[T, R]):
    items: list[T] = field(default_factory=list)
    found: "asyncio.Future[R] | None" = None


class SharedReads(Generic[T, R]):
    """Reads once for all items that arrive together.

    Those are the ones of one turn of the event loop, and those that come while a connection is waited for. A read
    begins after its items have come, so that it is as new as one of their own. What it raises, all of them raise.
    """

    def __init__(self) -> None:
        self._open: dict[Hashable, _Batch[T, R]] = {}
        """What is read next, by group."""

    async def find(self, group: Hashable, item: T, read: Read[T, R]) -> R:
        """Returns what was read for the item and others. A group shares rights and `read`."""
        batch = self._open.get(group)
        if batch is None:
            batch = self._open[group] = _Batch()
            # A task begins in the loop's next turn: all of this one have joined by then.
            batch.found = asyncio.ensure_future(read(partial(self._take, group, batch)))
            batch.found.add_done_callback(partial(self._ended, group, batch))
        batch.items.append(item)
        if len(batch.items) >= MOST_TOGETHER:
            self._take(group, batch)
        assert batch.found is not None
        return await asyncio.shield(batch.found)

    def _take(self, group: Hashable, batch: _Batch[T, R]) -> Sequence[T]:
        if self._open.get(group) is batch:
            del self._open[group]
        return batch.items

    def _ended(self, group: Hashable, batch: _Batch[T, R], found: "asyncio.Future[R]") -> None:
        """Also where nothing was taken, or every caller has gone away meanwhile."""
        self._take(group, batch)
        if not found.cancelled():
            found.exception()
