"""The pool: bounds, order, the reserve for urgent work, and what a cancelled wait leaves."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from app.store.db import pool as module
from app.store.db import shares
from app.store.db.pool import Pool, PoolTimeout
from app.store.db.scope import EVERY, NONE, limited_to
from tests.conftest import PATIENCE_S

pytestmark = pytest.mark.anyio


class Raw:
    """Stands for a connection of asyncpg."""

    def __init__(self) -> None:
        self.closed = False
        self.scope: str | None = NONE
        self.open_transaction = False
        self.said: list[str] = []
        self.rollback: asyncio.Event | None = None

    def is_closed(self) -> bool:
        return self.closed

    def is_in_transaction(self) -> bool:
        return self.open_transaction

    def terminate(self) -> None:
        self.closed = True

    async def close(self, timeout: float) -> None:
        self.closed = True

    async def execute(self, statement: str) -> None:
        self.said.append(statement)
        if self.rollback is not None:
            await self.rollback.wait()
        self.open_transaction = False


class Server:
    """Opens connections, or fails to."""

    def __init__(self) -> None:
        self.opened: list[Raw] = []
        self.error: Exception | None = None

    async def connect(self) -> Any:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        self.opened.append(Raw())
        return self.opened[-1]


def a_pool(size: int = 1, urgent_size: int = 1) -> tuple[Server, Pool]:
    server = Server()
    return server, Pool(server.connect, size=size, urgent_size=urgent_size)


async def test_the_connection_used_last_is_lent_first_and_closed_ones_are_replaced() -> None:
    server, pool = a_pool(size=2)
    first, second = await pool.acquire(), await pool.acquire()
    pool.release(first)
    pool.release(second)
    assert await pool.acquire() is second
    pool.release(second)
    second.closed = True
    assert await pool.acquire() is first
    first.closed = True
    pool.release(first)
    assert await pool.acquire() is server.opened[2]
    assert pool.in_use == 1


async def test_a_burst_of_work_opens_its_connections_once() -> None:
    server, pool = a_pool(size=2)
    for _ in range(3):
        for raw in [await pool.acquire() for _ in range(4)]:
            pool.release(raw)
    assert len(server.opened) == 4
    assert not any(raw.closed for raw in server.opened)


async def test_connections_beyond_its_size_are_closed_once_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNUSED_S", 0.0)
    server, pool = a_pool(size=2)
    for raw in [await pool.acquire() for _ in range(4)]:
        pool.release(raw)
    assert [raw.closed for raw in server.opened] == [True, True, False, False]


async def test_one_in_a_transaction_is_closed() -> None:
    _, pool = a_pool(size=2)
    raw: Any = await pool.acquire()
    raw.open_transaction = True
    pool.release(raw)
    assert raw.closed
    assert pool.in_use == 0


async def test_a_wait_for_a_connection_is_bounded_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POOL_TIMEOUT_S", 0.01)
    _, pool = a_pool()
    lent = [await pool.acquire() for _ in range(2)]
    with pytest.raises(PoolTimeout):
        await pool.acquire()
    for raw in lent:
        pool.release(raw)
    assert pool.in_use == 0
    assert await asyncio.wait_for(pool.acquire(), PATIENCE_S)


async def test_urgent_work_has_a_reserve_and_comes_before_what_waits() -> None:
    _, pool = a_pool(size=1, urgent_size=1)
    lent = [await pool.acquire() for _ in range(2)]
    ordinary = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    reserve = await asyncio.wait_for(pool.acquire(urgent=True), PATIENCE_S)
    urgent = asyncio.create_task(pool.acquire(urgent=True))
    await asyncio.sleep(0)
    pool.release(lent[0])
    assert await asyncio.wait_for(urgent, PATIENCE_S)
    assert not ordinary.done()
    pool.release(lent[1])
    await asyncio.sleep(0)
    assert not ordinary.done(), "the reserve is not for it"
    pool.release(reserve)
    assert await asyncio.wait_for(ordinary, PATIENCE_S)


async def test_urgent_work_comes_first_also_without_a_reserve() -> None:
    _, pool = a_pool(size=1, urgent_size=0)
    lent = [await pool.acquire() for _ in range(2)]
    ordinary = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    urgent = asyncio.create_task(pool.acquire(urgent=True))
    await asyncio.sleep(0)
    pool.release(lent[0])
    assert await asyncio.wait_for(urgent, PATIENCE_S)
    assert not ordinary.done()
    pool.release(lent[1])
    assert await asyncio.wait_for(ordinary, PATIENCE_S)


async def test_those_who_wait_are_served_in_their_order() -> None:
    _, pool = a_pool()
    lent = [await pool.acquire() for _ in range(2)]
    served: list[int] = []

    async def ask(number: int) -> None:
        raw = await pool.acquire()
        served.append(number)
        await asyncio.sleep(0)
        pool.release(raw)

    tasks = [asyncio.create_task(ask(n)) for n in range(6)]
    await asyncio.sleep(0)
    for raw in lent:
        pool.release(raw)
    await asyncio.gather(*tasks)
    assert served == list(range(6))


@pytest.mark.parametrize("granted", [True, False])
async def test_a_cancelled_wait_gives_its_place_on(granted: bool) -> None:
    """Also when it is cancelled in the moment in which its turn comes."""
    _, pool = a_pool()
    lent = [await pool.acquire() for _ in range(2)]
    waiting = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    if granted:
        pool.release(lent.pop())
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    for raw in lent:
        pool.release(raw)
    assert pool.in_use == 0
    assert [await asyncio.wait_for(pool.acquire(), PATIENCE_S) for _ in range(2)]


async def test_a_connection_that_cannot_be_opened_keeps_no_place() -> None:
    server, pool = a_pool()
    server.error = ConnectionRefusedError()
    for _ in range(5):
        with pytest.raises(ConnectionRefusedError):
            await pool.acquire()
    assert pool.in_use == 0


async def test_a_rollback_goes_on_when_its_caller_is_cancelled() -> None:
    _, pool = a_pool()
    raw: Any = await pool.acquire()
    raw.rollback, raw.open_transaction = asyncio.Event(), True
    caller = asyncio.create_task(pool.roll_back(raw))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    assert pool.in_use == 1
    raw.rollback.set()
    await pool.close()
    assert (raw.said, pool.in_use) == (["ROLLBACK;"], 0)


async def test_a_rollback_without_an_answer_closes_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROLLBACK_S", 0.01)
    _, pool = a_pool()
    raw: Any = await pool.acquire()
    raw.rollback = asyncio.Event()
    await pool.roll_back(raw)
    assert raw.closed
    assert pool.in_use == 0


async def test_a_lost_connection_is_replaced_in_its_place() -> None:
    server, pool = a_pool()
    lost: Any = await pool.acquire()
    raw = await pool.replace(lost)
    assert (lost.closed, raw, pool.in_use) == (True, server.opened[1], 1)
    pool.release(raw)
    assert (await pool.acquire(), pool.in_use) == (raw, 1)


async def test_after_a_break_every_connection_is_replaced_those_in_use_at_their_release() -> None:
    server, pool = a_pool(size=2)
    idle, used = await pool.acquire(), await pool.acquire()
    pool.release(idle)
    pool.discard()
    assert (idle.is_closed(), used.is_closed()) == (True, False)
    pool.release(used)
    assert used.is_closed()
    assert await pool.acquire() is server.opened[2]


async def lend(pool: Pool, scope: str, *, urgent: bool = False) -> Any:
    with limited_to(scope):
        return await pool.acquire(urgent=urgent)


def is_crowded(pool: Pool, scope: str) -> bool:
    with limited_to(scope):
        return pool.is_crowded


class Callers:
    """Calls of operators: each takes a connection and keeps it until `release`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._tasks: list[tuple[str, asyncio.Task[Any]]] = []

    async def come(self, *scopes: str) -> None:
        self._tasks += [(scope, asyncio.create_task(lend(self._pool, scope))) for scope in scopes]
        await self.settled()

    async def settled(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    @property
    def served(self) -> list[str]:
        return [scope for scope, task in self._tasks if task.done()]

    async def release(self, scope: str) -> None:
        """Gives back the connection that this operator has had for the longest time."""
        number = next(n for n, (whose, task) in enumerate(self._tasks) if whose == scope and task.done())
        self._pool.release(self._tasks.pop(number)[1].result())
        await self.settled()

    async def end(self) -> None:
        while self._tasks:
            await self.release(self.served[0])


async def test_an_operator_alone_uses_all_connections_and_only_its_share_beside_others() -> None:
    _, pool = a_pool(size=5)
    callers = Callers(pool)
    await callers.come(*["one"] * 12)
    assert callers.served == ["one"] * 10
    await callers.come("other")
    assert callers.served == ["one"] * 10
    await callers.release("one")
    assert callers.served == ["one"] * 9 + ["other"], "who waits is served by turns"
    await callers.release("one")
    assert callers.served == ["one"] * 8 + ["other"], (
        "beside another operator this one has more than its share"
    )
    await callers.come("other", "other", EVERY, EVERY)
    assert callers.served == ["one"] * 8 + ["other"] * 2, "nine or more of ten are in use"
    await callers.end()
    assert pool.in_use == 0


async def test_a_call_of_another_operator_never_waits_behind_a_flood() -> None:
    _, pool = a_pool(size=5)
    callers = Callers(pool)
    await callers.come("other", *["one"] * 100)
    assert callers.served == ["other", "one", "one"]
    await callers.come("third", "other", EVERY)
    assert callers.served == ["other", "one", "one", "third", "other", EVERY]
    assert not is_crowded(pool, "one"), "98 are fewer than 100"
    await callers.come("one", "one")
    assert is_crowded(pool, "one")
    assert not is_crowded(pool, "other"), "one operator's queue is no reason to refuse another's calls"
    await callers.release("one")
    assert callers.served.count("one") == 2
    await callers.end()


async def test_a_connection_used_for_long_leaves_the_share_to_other_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reports that take seconds do not block their own operator's payments; half of the connections they may have."""
    monkeypatch.setattr(module, "YOUNG_S", 0.001)
    now_s = 100.0
    monkeypatch.setattr(shares, "monotonic_s", lambda: now_s)
    _, pool = a_pool(size=3)
    callers = Callers(pool)
    await callers.come("other", "one", "one", "one", "one", "one", "one")
    assert callers.served == ["other", "one", "one"]
    now_s += 2 * shares.YOUNG_S
    await asyncio.wait_for(until(lambda: callers.served.count("one") == 3), PATIENCE_S)
    await callers.come("other")
    now_s += 2 * shares.YOUNG_S
    await asyncio.sleep(0.01)
    assert callers.served.count("one") == 3, "half of six"
    now_s += 2 * shares.ACTIVE_S
    await asyncio.wait_for(until(lambda: callers.served.count("one") == 4), PATIENCE_S)
    assert len(callers.served) == 6, "alone again, all of them"
    await callers.end()


async def test_stops_wait_for_no_share() -> None:
    _, pool = a_pool(size=5, urgent_size=2)
    lent = [await lend(pool, scope) for scope in ("other", "one", "one")]
    lent += [await asyncio.wait_for(lend(pool, "one", urgent=True), PATIENCE_S) for _ in range(9)]
    for raw in lent:
        pool.release(raw)
    assert pool.in_use == 0


async def test_stops_take_nothing_of_their_operators_share() -> None:
    _, pool = a_pool(size=5, urgent_size=2)
    stops = [await lend(pool, "one", urgent=True) for _ in range(6)]
    lent = [await asyncio.wait_for(lend(pool, scope), PATIENCE_S) for scope in ("other", "one", "one")]
    for raw in (*stops, *lent):
        pool.release(raw)
    callers = Callers(pool)
    await callers.come("other", "one", "one", "one")
    assert callers.served == ["other", "one", "one"]
    await callers.end()


async def test_operators_that_wait_are_served_by_turns() -> None:
    _, pool = a_pool(size=1)
    callers = Callers(pool)
    await callers.come("first", "first", "one", "one", "one", "other", "other", "third")
    for freed, then in (
        ("first", ["first", "one"]),
        ("first", ["one", "other"]),
        ("one", ["other", "third"]),
        ("other", ["one", "third"]),
        ("third", ["one", "other"]),
    ):
        await callers.release(freed)
        assert callers.served == then
    await callers.end()


async def until(done: Callable[[], bool]) -> None:
    while not done():  # noqa: ASYNC110  what it waits for sets no event
        await asyncio.sleep(0.001)
