"""Duties of operators: claimed by one, fenced, due again when asked for meanwhile."""

import asyncio

import pytest

from app.store import duties
from app.store.database import Database
from app.store.duties import Duty, DutyLease
from tests.store.rows import NOW, OP_ONE, OP_OTHER, SECOND, furnished

pytestmark = pytest.mark.anyio

LEASE = 60 * SECOND


async def claim(database: Database, at: int = 0) -> DutyLease | None:
    async with database.transaction() as connection:
        return await duties.claim(connection, now=NOW + at * SECOND, until=NOW + at * SECOND + LEASE)


async def give_back(database: Database, lease: DutyLease, due: int | None) -> None:
    async with database.transaction() as connection:
        await duties.give_back(connection, lease, None if due is None else NOW + due * SECOND)


async def all_of(database: Database, at: int = 0) -> list[tuple[str, Duty]]:
    found = []
    while (lease := await claim(database, at)) is not None:
        found.append((lease.operator_id, lease.duty))
    return sorted(found)


async def test_each_duty_is_claimed_by_one_of_many(database_url: str) -> None:
    async with furnished(database_url) as database:
        got = await asyncio.gather(*(claim(database) for _ in range(12)))
        first = [(lease.operator_id, lease.duty) for lease in got if lease]
        assert sorted(first) == sorted(set(first))
        assert {o for o, duty in first + await all_of(database) if duty is Duty.UPKEEP} == {OP_ONE, OP_OTHER}


async def test_a_dead_workers_duty_is_taken_over_and_its_late_word_counts_for_nothing(
    database_url: str,
) -> None:
    async with furnished(database_url) as database:
        dead = await claim(database)
        assert dead is not None
        await all_of(database)
        again = await claim(database, 61)
        taken = {again} if again else set()
        while again is not None and (again.operator_id, again.duty) != (dead.operator_id, dead.duty):
            again = await claim(database, 61)
            taken |= {again} if again else set()
        assert again is not None
        assert again.token == dead.token + 1
        await give_back(database, dead, 0)
        async with database.transaction() as connection:
            assert not await duties.held(connection, dead)
            assert await duties.held(connection, again)


async def test_a_duty_that_is_asked_for_while_it_is_done_is_due_again_at_once(database_url: str) -> None:
    async with furnished(database_url) as database:
        await all_of(database)
        async with database.transaction() as connection:
            await duties.make_due(connection, OP_ONE, Duty.SWEEP, NOW)
        lease = await claim(database)
        assert lease == DutyLease(OP_ONE, Duty.SWEEP, 1)
        async with database.transaction() as connection:
            await duties.make_due(connection, OP_ONE, Duty.SWEEP, NOW + SECOND)
            await duties.renew(connection, [lease], NOW + 2 * LEASE)
        await give_back(database, lease, None)
        assert await claim(database, 1) == DutyLease(OP_ONE, Duty.SWEEP, 2)


async def test_a_duty_that_nobody_asks_for_stays_as_it_was_given_back(database_url: str) -> None:
    async with furnished(database_url) as database:
        await all_of(database)
        async with database.transaction() as connection:
            await duties.make_due(connection, OP_ONE, Duty.SWEEP, NOW)
        lease = await claim(database)
        assert lease is not None
        async with database.transaction() as connection:
            await duties.renew(connection, [lease], NOW + 2 * LEASE)
        await give_back(database, lease, None)
        assert (OP_ONE, Duty.SWEEP) not in await all_of(database, 10_000)
