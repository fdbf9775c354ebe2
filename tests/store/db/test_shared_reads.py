"""Tests of app/store/db/shared_reads."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from app.store.db.shared_reads import MOST_TOGETHER, SharedReads

pytestmark = pytest.mark.anyio


class Reads:
    """Reads that each wait until `let` is called; one with `bad` among its items fails."""

    def __init__(self, bad: int | None = None) -> None:
        self.shared = SharedReads[int, int]()
        self.batches: list[list[int]] = []
        self._bad = bad
        self._open = asyncio.Event()
        self.has_connection = asyncio.Event()
        self.has_connection.set()

    async def read(self, take: Callable[[], Sequence[int]]) -> int:
        await self.has_connection.wait()
        items = take()
        self.batches.append(list(items))
        number = len(self.batches)
        await self._open.wait()
        if self._bad in items:
            raise ValueError("bad")
        return number

    def find(self, item: int, group: str = "one") -> "asyncio.Task[int]":
        return asyncio.create_task(self.shared.find(group, item, self.read))

    def let(self) -> None:
        self._open.set()


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_comes_in_one_turn_is_read_together_within_its_group() -> None:
    reads = Reads()
    tasks = [reads.find(1), reads.find(2), reads.find(3, "other"), reads.find(1)]
    await turns(3)
    assert reads.batches == [[1, 2, 1], [3]]
    reads.let()
    assert await asyncio.gather(*tasks) == [1, 1, 2, 1]


async def test_what_comes_later_is_read_anew_since_it_may_have_changed() -> None:
    reads = Reads()
    first = reads.find(1)
    await turns(2)
    second = reads.find(1)
    await turns(3)
    assert reads.batches == [[1], [1]]
    reads.let()
    assert [await first, await second] == [1, 2]


async def test_what_comes_while_a_connection_is_waited_for_joins() -> None:
    reads = Reads()
    reads.has_connection.clear()
    tasks = [reads.find(1)]
    await turns(3)
    tasks.append(reads.find(2))
    await turns(3)
    assert reads.batches == []
    reads.has_connection.set()
    reads.let()
    assert await asyncio.gather(*tasks) == [1, 1]
    assert reads.batches == [[1, 2]]


async def test_a_statement_has_a_bounded_number_of_items() -> None:
    reads = Reads()
    tasks = [reads.find(n) for n in range(MOST_TOGETHER + 1)]
    reads.let()
    await asyncio.gather(*tasks)
    assert [len(batch) for batch in reads.batches] == [MOST_TOGETHER, 1]


async def test_an_error_is_everyones_of_the_batch_and_a_caller_that_goes_away_nobodys() -> None:
    reads = Reads(bad=3)
    gone, stays, wrong = reads.find(1), reads.find(2), reads.find(3, "other")
    await turns(3)
    gone.cancel()
    await turns(2)
    reads.let()
    assert await stays == 1
    with pytest.raises(ValueError, match="bad"):
        await wrong
    assert gone.cancelled()
