"""The inbox keeps each entry once, wakes the sessions meant, and never lets two deliveries block each other."""

import asyncio
import random
from dataclasses import replace

import pytest
from sqlalchemy import text

from app.domain.session.machine import Wait
from app.monta.webhook import CHARGE_POINT, PRICE_GROUP
from app.store.db.database import Database
from app.store.sessions import inbox, leases
from app.store.sessions.inbox import InboxEntry, PendingEntry
from tests.store.rows import (
    NOW,
    OP_ONE,
    OP_OTHER,
    SECOND,
    TRM_OTHER,
    a_session,
    change,
    provisioned,
    record,
    with_charge,
)

pytestmark = pytest.mark.anyio

LEASE = 30 * SECOND
MANY = 1000
"""More than one statement can take with its parameters."""


def entry(key: str, **more: str | None) -> InboxEntry:
    return InboxEntry(dedupe_key=key, raw={"key": key}, entity_type="charge", **more)  # type: ignore[arg-type]


def key_of(news: PendingEntry) -> object:
    """The entry's key as it stands in what Monta sent."""
    assert news.raw is not None
    return news.raw["key"]


async def due_at_of(database: Database, session_id: str) -> object:
    query = text("SELECT due_at FROM payment_sessions WHERE id = :id")
    async with database.transaction() as connection:
        return (await connection.execute(query, {"id": session_id})).scalar()


async def test_sessions_that_are_not_here_are_named(database_url: str) -> None:
    async with provisioned(database_url) as database:
        here = a_session("1")
        await record(database, here)
        async with database.transaction() as connection:
            entries = [
                entry("a", session_reference=here.id),
                entry("b", session_reference="ps_gone"),
                entry("c", session_reference="ps_gone"),
                entry("d", charge_id="77"),
            ]
            kept = await inbox.keep(connection, OP_ONE, entries, NOW)
            again = await inbox.keep(connection, OP_ONE, entries, NOW)
            other = await inbox.keep(connection, OP_OTHER, entries[:1], NOW)
    assert (kept.new, kept.unknown) == (4, ("ps_gone",))
    assert (again.new, again.unknown) == (0, ())
    assert other.unknown == (here.id,), "another operator's session is not here"


async def put_to_rest(database: Database) -> None:
    async with database.transaction() as connection:
        for lease in await leases.claim(connection, owner="w", now=NOW, until=NOW + LEASE, limit=10):
            await leases.release(connection, lease, Wait(None))


async def test_an_entry_is_kept_once_for_each_operator(database_url: str) -> None:
    async with provisioned(database_url) as database, database.transaction() as connection:
        assert (await inbox.keep(connection, OP_ONE, [entry("a"), entry("b"), entry("a")], NOW)).new == 2
        assert (await inbox.keep(connection, OP_ONE, [entry("b"), entry("c")], NOW)).new == 1
        assert (await inbox.keep(connection, OP_OTHER, [entry("a")], NOW + SECOND)).new == 1
        assert (await inbox.keep(connection, OP_ONE, [], NOW)).new == 0


async def test_news_by_charge_id_or_reference_wakes_the_session_and_no_other(
    database_url: str,
) -> None:  # F25, F46
    by_charge, by_reference = a_session("a"), a_session("b", charge_point="102")
    theirs = a_session("c", terminal=TRM_OTHER, operator_id=OP_OTHER)
    later = NOW + 5 * SECOND
    async with provisioned(database_url) as database:
        for session in (by_charge, by_reference, theirs):
            await record(database, session)
        await change(database, by_charge, with_charge(by_charge, "77"))
        await change(database, theirs, with_charge(theirs, "78"))
        await put_to_rest(database)
        entries = [
            entry("1", charge_id="77"),
            entry("2", charge_id="900", session_reference="ps_b"),
            entry("3", charge_id="78"),
            entry("4", session_reference="ps_c"),
        ]
        async with database.transaction() as connection:
            assert (await inbox.keep(connection, OP_ONE, entries, later)).new == 4
            assert [key_of(n) for n in await inbox.pending_of(connection, by_reference)] == ["2"]
            assert await inbox.pending_of(connection, theirs) == []
        assert await due_at_of(database, "ps_a") == later
        assert await due_at_of(database, "ps_b") == later
        assert await due_at_of(database, "ps_c") is None


async def test_a_redelivery_wakes_no_session(database_url: str) -> None:
    session = a_session("a")
    async with provisioned(database_url) as database:
        await record(database, session)
        for kept, expected in ((1, NOW + SECOND), (0, None)):
            await put_to_rest(database)
            async with database.transaction() as connection:
                entries = [entry("1", session_reference="ps_a")]
                assert (await inbox.keep(connection, OP_ONE, entries, NOW + SECOND)).new == kept
            assert await due_at_of(database, "ps_a") == expected
            async with database.transaction() as connection:
                await connection.execute(text("UPDATE payment_sessions SET due_at = NULL"))


async def test_news_is_read_in_the_order_of_its_arrival_and_applied_once(database_url: str) -> None:
    session = with_charge(a_session("a"), "77")
    async with provisioned(database_url) as database:
        await record(database, session)
        async with database.transaction() as connection:
            for n, key in enumerate(("z", "a", "m")):
                await inbox.keep(connection, OP_ONE, [entry(key, charge_id="77")], NOW + n * SECOND)
            news = await inbox.pending_of(connection, session)
            assert [key_of(n) for n in news] == ["z", "a", "m"]
            await inbox.mark_applied(connection, OP_ONE, news[:2], NOW)
            assert [key_of(n) for n in await inbox.pending_of(connection, session)] == ["m"]
            await inbox.mark_applied(connection, OP_ONE, [], NOW)


async def test_of_a_backlog_about_one_charge_only_the_newest_are_read_and_all_are_done_with(
    database_url: str,
) -> None:  # F43
    session = with_charge(a_session("a"), "77")
    many = [entry(f"{n:05}", charge_id="77") for n in range(2 * inbox.READ_OF_EACH)]
    async with provisioned(database_url) as database:
        await record(database, session)
        async with database.transaction() as connection:
            await inbox.keep(connection, OP_ONE, many, NOW)
            news = await inbox.pending_of(connection, session)
            await inbox.mark_applied(connection, OP_ONE, news, NOW)
            assert await inbox.pending_of(connection, session) == []
    assert [n.raw is None for n in news] == [True] * inbox.READ_OF_EACH + [False] * inbox.READ_OF_EACH
    assert [key_of(n) for n in news[inbox.READ_OF_EACH :]] == [
        e.dedupe_key for e in many[inbox.READ_OF_EACH :]
    ]


async def test_a_mountain_of_news_is_read_in_parts(database_url: str) -> None:  # F43
    session = with_charge(a_session("a"), "77")
    many = [entry(f"{n:05}", charge_id=str(n), session_reference="ps_a") for n in range(18_000)]
    async with provisioned(database_url) as database:
        await record(database, session)
        async with database.transaction() as connection:
            assert (await inbox.keep(connection, OP_ONE, many, NOW)).new == len(many)
            news = await inbox.pending_of(connection, session)
            await inbox.mark_applied(connection, OP_ONE, news, NOW)
            rest = await inbox.pending_of(connection, session)
    assert [key_of(n) for n in news] == [f"{n:05}" for n in range(inbox.PENDING_LIMIT)]
    assert key_of(rest[0]) == f"{inbox.PENDING_LIMIT:05}"


async def test_overlapping_deliveries_in_other_orders_all_come_to_an_end(database_url: str) -> None:
    chance = random.Random(7)
    entries = [entry(f"{n:04}", session_reference=f"ps_{n % 4}") for n in range(3 * MANY)]
    async with provisioned(database_url) as database:
        for n in range(4):
            await record(database, a_session(f"{n}", charge_point=f"10{n + 1}"))
        await put_to_rest(database)

        async def deliver() -> int:
            part = chance.sample(entries, 2 * MANY)
            async with database.transaction() as connection:
                return (await inbox.keep(connection, OP_ONE, part, NOW)).new

        kept = await asyncio.gather(*(deliver() for _ in range(6)))
        async with database.transaction() as connection:
            count = (await connection.execute(text("SELECT count(*) FROM inbox"))).scalar()
    assert sum(kept) == count


async def test_two_deliveries_that_would_block_each_other_part_by_part_do_not(database_url: str) -> None:
    """The first part of one wakes the session that the other's key waits for: only one order of locks is safe."""
    size = MANY
    low = [entry(f"a{n:04}", session_reference="ps_0") for n in range(size)]
    shared = replace(entry("m"), session_reference="ps_0")
    high = [entry(f"z{n:04}", session_reference="ps_0") for n in range(size)]
    async with provisioned(database_url) as database:
        await record(database, a_session("0"))
        await put_to_rest(database)

        async def deliver(entries: list[InboxEntry]) -> int:
            async with database.transaction() as connection:
                return (await inbox.keep(connection, OP_ONE, entries, NOW)).new

        for turn in range(2):
            one = [replace(e, dedupe_key=f"{turn}{e.dedupe_key}") for e in [*low, shared]]
            other = [replace(e, dedupe_key=f"{turn}{e.dedupe_key}") for e in [shared, *high]]
            kept = await asyncio.gather(deliver(one), deliver(other))
            assert sum(kept) == 2 * size + 1


async def test_news_of_charge_points_and_prices_are_the_operators_own_until_they_are_applied(
    database_url: str,
) -> None:
    kinds = (CHARGE_POINT, PRICE_GROUP, "charge", "team")
    entries = [replace(entry(f"{n}"), entity_type=kind) for n, kind in enumerate(kinds)]
    broken = replace(entry("broken"), entity_type=CHARGE_POINT, problem="no id")
    async with provisioned(database_url) as database, database.transaction() as connection:
        await inbox.keep(connection, OP_ONE, [*entries, broken], NOW)
        await inbox.keep(connection, OP_OTHER, [replace(entries[0], dedupe_key="o", raw={"key": "o"})], NOW)
        for operator_id, keys in ((OP_ONE, ["0", "1"]), (OP_OTHER, ["o"])):
            for left in (keys, []):
                news = await inbox.news_of_charge_points(connection, operator_id, 10)
                assert [key_of(each) for each in news] == left
                await inbox.mark_applied(connection, operator_id, news, NOW)
