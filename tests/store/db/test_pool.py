"""The pool: bounds, order, the reserve for urgent work, and what a cancelled wait leaves."""

import asyncio
from typing import Any

import pytest

from app.store.db import pool as module
from app.store.db.pool import Pool, PoolTimeout
from app.store.db.scope import NONE
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
