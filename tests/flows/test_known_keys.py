"""Tests of app/flows/known_keys: keys are looked up once a moment, and a revoked one is refused within a second."""

import asyncio

import pytest

from app.flows import known_keys
from app.flows.known_keys import KEPT_S, KnownKeys
from tests.conftest import PATIENCE_S

pytestmark = pytest.mark.anyio


async def all_begun() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Table:
    """Keys by hash, and how often they were looked up."""

    def __init__(self) -> None:
        self.owners = {b"a": "one"}
        self.asked = 0

    async def find(self, keys: KnownKeys[str], now_s: float, key_hash: bytes = b"a") -> str | None:
        async def look_up() -> str | None:
            self.asked += 1
            return self.owners.get(key_hash)

        return await keys.find(key_hash, now_s, look_up)


async def test_a_key_is_looked_up_once_a_moment_and_an_unknown_one_each_time() -> None:
    keys, table = KnownKeys[str](), Table()
    assert [await table.find(keys, 5.0), await table.find(keys, 5.0 + KEPT_S - 0.01)] == ["one", "one"]
    assert table.asked == 1
    assert [await table.find(keys, 5.0, b"b"), await table.find(keys, 5.0, b"b")] == [None, None]
    assert table.asked == 3
    table.owners[b"b"] = "two"
    assert await table.find(keys, 5.0, b"b") == "two"


async def test_F11_a_revoked_key_is_refused_within_a_second_without_any_notification() -> None:
    keys, table = KnownKeys[str](), Table()
    await table.find(keys, 5.0)
    table.owners.clear()
    assert await table.find(keys, 5.0 + KEPT_S) is None
    assert KEPT_S < 1


async def test_F11_a_revoked_key_is_refused_at_once_where_it_is_announced() -> None:
    keys, table = KnownKeys[str](), Table()
    await table.find(keys, 5.0)
    table.owners.clear()
    keys.forget()
    assert await table.find(keys, 5.0) is None


async def test_F11_what_was_read_before_an_announcement_is_not_kept_after_it() -> None:
    keys, read, told = KnownKeys[str](), asyncio.Event(), asyncio.Event()

    async def slow() -> str | None:
        read.set()
        await told.wait()
        return "one"

    async def gone() -> str | None:
        return None

    call = asyncio.create_task(keys.find(b"a", 5.0, slow))
    await read.wait()
    keys.forget()
    told.set()
    assert await call == "one", "it was valid when the call came"
    assert await keys.find(b"a", 5.0, gone) is None


async def test_callers_of_one_key_share_a_lookup_and_an_urgent_one_does_not_wait_for_it() -> None:
    keys, table, free = KnownKeys[str](), Table(), asyncio.Event()

    async def slow() -> str | None:
        table.asked += 1
        await free.wait()
        return "one"

    calls = [asyncio.create_task(keys.find(b"a", 5.0 + n / 100, slow)) for n in range(10)]
    await all_begun()
    calls[0].cancel()
    async with asyncio.timeout(PATIENCE_S):
        assert await keys.find(b"a", 5.2, lambda: table.find(KnownKeys[str](), 5.2), urgent=True) == "one"
    keys.forget()
    late = asyncio.create_task(keys.find(b"a", 5.3, slow))
    await all_begun()
    assert table.asked == 3, "one for ten callers, the urgent one, one after what was announced"
    free.set()
    assert [await call for call in (*calls[1:], late)] == ["one"] * 10


async def test_an_answer_from_before_an_announcement_ends_no_lookup_that_callers_share_since() -> None:
    keys = KnownKeys[str]()
    asked: list[None] = []
    free = [asyncio.Event(), asyncio.Event()]

    async def slow() -> str | None:
        asked.append(None)
        await free[len(asked) - 1].wait()
        return "one"

    old = asyncio.create_task(keys.find(b"a", 5.0, slow))
    await all_begun()
    keys.forget()
    new = asyncio.create_task(keys.find(b"a", 5.0, slow))
    await all_begun()
    free[0].set()
    await old
    third = asyncio.create_task(keys.find(b"a", 5.0, slow))
    await all_begun()
    free[1].set()
    assert [await new, await third, len(asked)] == ["one", "one", 2]


async def test_a_failed_lookup_fails_its_callers_and_the_next_one_asks_again() -> None:
    keys, table = KnownKeys[str](), Table()

    async def fails() -> str | None:
        raise ConnectionError

    for each in await asyncio.gather(
        *(keys.find(b"a", 5.0, fails) for _ in range(3)), return_exceptions=True
    ):
        assert isinstance(each, ConnectionError)
    assert await table.find(keys, 5.0) == "one"


async def test_F11_nobody_joins_a_lookup_that_is_a_second_old() -> None:
    keys, table, never = KnownKeys[str](), Table(), asyncio.Event()

    async def hangs() -> str | None:
        await never.wait()
        return "one"

    call = asyncio.create_task(keys.find(b"a", 5.0, hangs))
    await all_begun()
    table.owners.clear()
    async with asyncio.timeout(PATIENCE_S):
        assert await table.find(keys, 5.0 + KEPT_S) is None
    call.cancel()
    never.set()


async def test_the_number_of_kept_keys_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_keys, "MOST_KEYS", 3)
    keys, table = KnownKeys[str](), Table()
    table.owners = {bytes([n]): str(n) for n in range(10)}
    for key_hash in table.owners:
        await table.find(keys, 5.0, key_hash)
        assert len(keys._known) <= 3
    assert await table.find(keys, 5.0, bytes([9])) == "9"
    assert table.asked == 10
