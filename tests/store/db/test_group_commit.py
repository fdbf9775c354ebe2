"""Tests of app/store/db/group_commit."""

import asyncio
from collections.abc import Sequence

import pytest

from app.store.db import group_commit
from app.store.db.group_commit import GroupCommit, TooManyWaiting
from tests.conftest import PATIENCE_S

pytestmark = pytest.mark.anyio


class Writes:
    """Writes that each wait until `let` is called; items in `bad` fail every write that they are in."""

    def __init__(self, bad: Sequence[int] = ()) -> None:
        self.batches: list[list[int]] = []
        self._bad = set(bad)
        self._open = asyncio.Event()

    async def __call__(self, items: Sequence[int]) -> None:
        self.batches.append(list(items))
        await self._open.wait()
        if self._bad & set(items):
            raise ValueError("bad")

    def let(self) -> None:
        self._open.set()


async def settled() -> None:
    """Lets every task go on until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


async def until_written(writes: Writes, batches: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while len(writes.batches) < batches:  # noqa: ASYNC110  written by real time, which tells nobody
            await asyncio.sleep(0.001)


async def put_all(group: GroupCommit[int], items: Sequence[int]) -> list["asyncio.Task[None]"]:
    tasks = [asyncio.create_task(group.put(item)) for item in items]
    await settled()
    return tasks


async def test_an_idle_group_writes_at_once_and_what_comes_meanwhile_is_the_next_batch() -> None:
    writes = Writes()
    tasks = await put_all(GroupCommit(writes), [1, 2, 3])
    assert writes.batches == [[1]]
    writes.let()
    await asyncio.gather(*tasks)
    assert writes.batches == [[1], [2, 3]]


async def test_as_many_batches_as_may_be_are_written_at_once() -> None:
    writes = Writes()
    tasks = await put_all(GroupCommit(writes, at_once=2), [1, 2, 3, 4])
    assert writes.batches == [[1], [2]]
    writes.let()
    await asyncio.gather(*tasks)
    assert sorted(item for batch in writes.batches for item in batch) == [1, 2, 3, 4]


async def test_a_group_that_gathers_writes_what_arrives_turn_by_turn_together() -> None:
    writes = Writes()
    writes.let()
    group: GroupCommit[int] = GroupCommit(writes, gathers=True)

    async def put(item: int) -> None:
        for _ in range(item):
            await asyncio.sleep(0)
        await group.put(item)

    await asyncio.gather(*(put(item) for item in (1, 2, 3, 3, 9)))
    assert writes.batches == [[1, 2, 3, 3], [9]]


async def test_a_group_that_gathers_goes_on_when_whoever_gathers_is_cancelled() -> None:
    writes = Writes()
    writes.let()
    group: GroupCommit[int] = GroupCommit(writes, gathers=True)
    tasks = [asyncio.create_task(group.put(item)) for item in (1, 2, 3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    async with asyncio.timeout(PATIENCE_S):
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError, type(None), type(None)]
    assert writes.batches == [[2, 3]]


async def test_a_batch_begins_beside_another_with_enough_items_only() -> None:
    writes = Writes()
    group: GroupCommit[int] = GroupCommit(writes, at_once=2, beside=3)
    tasks = await put_all(group, [1, 2, 3])
    assert writes.batches == [[1]]
    tasks += await put_all(group, [4])
    assert writes.batches == [[1], [2, 3, 4]]
    tasks += await put_all(group, [5, 6])
    writes.let()
    await asyncio.gather(*tasks)
    assert writes.batches == [[1], [2, 3, 4], [5, 6]]


@pytest.mark.parametrize("cancelled", [False, True])
async def test_fewer_wait_for_a_running_batch_for_a_moment_only(
    cancelled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "BESIDE_AFTER_S", 0.01)
    writes = Writes()
    group: GroupCommit[int] = GroupCommit(writes, at_once=3, beside=3)
    tasks = await put_all(group, [1, 2, 3])
    if cancelled:
        tasks.pop(1).cancel()
    await until_written(writes, 2)
    assert writes.batches == [[1], [3] if cancelled else [2, 3]]
    tasks += await put_all(group, [4])
    await until_written(writes, 3)
    tasks += await put_all(group, [5, 6, 7])
    assert writes.batches[2:] == [[4]], "no more than three at once"
    writes.let()
    await asyncio.gather(*tasks)
    assert writes.batches[3:] == [[5, 6, 7]]


async def test_one_that_has_just_come_does_not_begin_by_the_time_of_an_earlier_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_commit, "BESIDE_AFTER_S", PATIENCE_S)
    writes = Writes()
    group: GroupCommit[int] = GroupCommit(writes, at_once=3, beside=3)
    tasks = await put_all(group, [1, 2, 3, 4])
    tasks += await put_all(group, [5])
    group._has_waited()  # the timer was set for 2, which has begun with 3 and 4
    await settled()
    assert writes.batches == [[1], [2, 3, 4]]
    writes.let()
    await asyncio.gather(*tasks)
    assert writes.batches == [[1], [2, 3, 4], [5]]


async def test_what_a_batch_leaves_waits_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "BESIDE_AFTER_S", 0.01)
    writes = Writes()
    group: GroupCommit[int] = GroupCommit(writes, lambda _item, chosen: len(chosen) < 2, at_once=9, beside=5)
    tasks = await put_all(group, [1, 2, 3, 4, 5])
    await until_written(writes, 3)
    assert sorted(writes.batches) == [[1], [2, 3], [4, 5]]
    writes.let()
    await asyncio.gather(*tasks)


async def test_a_bad_item_fails_alone_and_the_others_are_written() -> None:
    writes = Writes(bad=[3])
    tasks = await put_all(GroupCommit(writes), [1, 2, 3, 4])
    writes.let()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), type(None), ValueError, type(None)]
    assert sorted(item for batch in writes.batches if batch != [2, 3, 4] for item in batch) == [1, 2, 3, 4]


async def test_a_bad_leader_fails_alone() -> None:
    writes = Writes(bad=[2])
    tasks = await put_all(GroupCommit(writes), [1, 2, 3])
    writes.let()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), ValueError, type(None)]


@pytest.mark.parametrize("cancelled", range(5))
async def test_whoever_is_cancelled_the_others_are_written_and_the_group_goes_on(cancelled: int) -> None:
    writes = Writes()
    group: GroupCommit[int] = GroupCommit(writes)
    tasks = await put_all(group, range(5))
    tasks[cancelled].cancel()
    await settled()
    writes.let()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [task.cancelled() for task in tasks] == [n == cancelled for n in range(5)]
    async with asyncio.timeout(PATIENCE_S):
        await group.put(9)
    assert writes.batches[-1] == [9]


async def test_the_lead_is_passed_on_when_it_is_given_to_a_cancelled_one() -> None:
    writes, loop = Writes(), asyncio.get_running_loop()

    def cancel_next(took_s: float) -> float:
        """Cancels the second one after it was given the lead, and before it goes on."""
        loop.call_soon(tasks[1].cancel)
        return 0.0

    group: GroupCommit[int] = GroupCommit(writes, pause_s=cancel_next)
    tasks = await put_all(group, [1, 2, 3])
    writes.let()
    async with asyncio.timeout(PATIENCE_S):
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), asyncio.CancelledError, type(None)]
    assert writes.batches == [[1], [3]]
    async with asyncio.timeout(PATIENCE_S):
        await group.put(9)


@pytest.mark.parametrize("at_once", [1, 2])
async def test_the_lead_is_not_given_to_one_that_was_cancelled_in_the_same_turn_of_the_event_loop(
    at_once: int,
) -> None:
    writes = Writes()
    group: GroupCommit[int] = GroupCommit(writes, at_once=at_once)
    tasks = await put_all(group, range(at_once + 3))
    writes.let()  # the first batches go on in the next turn, before those that are cancelled now
    for task in tasks[at_once : at_once + 2]:
        task.cancel()
    async with asyncio.timeout(PATIENCE_S):
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*await put_all(group, range(10, 20)))
    assert [number for number, result in enumerate(results) if result is not None] == [at_once, at_once + 1]
    assert sorted(item for batch in writes.batches for item in batch) == [
        *range(at_once),
        at_once + 2,
        *range(10, 20),
    ]


async def test_a_batch_and_what_waits_for_it_are_bounded() -> None:
    writes = Writes()
    group: GroupCommit[int] = GroupCommit(writes)
    many = 1 + group_commit.MOST_WAITING
    tasks = await put_all(group, range(many))
    with pytest.raises(TooManyWaiting):
        await group.put(many)
    writes.let()
    await asyncio.gather(*tasks)
    assert max(map(len, writes.batches)) == group_commit.MOST_TOGETHER
    assert sorted(item for batch in writes.batches for item in batch) == list(range(many))


async def test_while_one_has_waited_for_too_long_new_ones_are_refused() -> None:
    writes = Writes()
    group: GroupCommit[int] = GroupCommit(writes, most_wait_s=0)
    tasks = await put_all(group, [1, 2])
    with pytest.raises(TooManyWaiting):
        await group.put(3)
    writes.let()
    await asyncio.gather(*tasks)
    await group.put(4)
    assert writes.batches == [[1], [2], [4]]


async def test_what_does_not_join_a_batch_is_the_next_one() -> None:
    writes = Writes()
    group = GroupCommit(writes, joins=lambda item, chosen: item + sum(chosen) <= 10)
    tasks = await put_all(group, [50, 6, 4, 1, 99])
    writes.let()
    await asyncio.gather(*tasks)
    assert writes.batches == [[50], [6, 4], [1], [99]]


async def test_the_next_batch_waits_for_the_pause_and_has_what_came_meanwhile() -> None:
    writes, loop = Writes(), asyncio.get_running_loop()
    writes.let()
    group: GroupCommit[int] = GroupCommit(writes, pause_s=lambda took_s: 0.01)
    began_s = loop.time()
    first = asyncio.create_task(group.put(1))
    await settled()
    assert first.done(), "who was written does not wait for the pause"
    await asyncio.gather(*(group.put(item) for item in (2, 3)))
    assert loop.time() - began_s > 0.0095, "the pause, by a clock of whole milliseconds"
    assert writes.batches == [[1], [2, 3]]
