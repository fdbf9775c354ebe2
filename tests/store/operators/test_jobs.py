"""Jobs of operators: claimed by one, fenced, due again when asked for meanwhile."""

import asyncio

import pytest

from app.store.db.database import Database
from app.store.operators import jobs
from app.store.operators.jobs import Job, JobLease
from tests.store.rows import NOW, OP_ONE, OP_OTHER, SECOND, provisioned

pytestmark = pytest.mark.anyio

LEASE = 60 * SECOND


async def claim(database: Database, at: int = 0) -> JobLease | None:
    async with database.transaction() as connection:
        return await jobs.claim(connection, now=NOW + at * SECOND, until=NOW + at * SECOND + LEASE)


async def release(database: Database, lease: JobLease, due: int | None) -> None:
    async with database.transaction() as connection:
        await jobs.release(connection, lease, None if due is None else NOW + due * SECOND)


async def all_of(database: Database, at: int = 0) -> list[tuple[str, Job]]:
    found = []
    while (lease := await claim(database, at)) is not None:
        found.append((lease.operator_id, lease.job))
    return sorted(found)


async def test_each_job_is_claimed_by_one_of_many(database_url: str) -> None:
    async with provisioned(database_url) as database:
        got = await asyncio.gather(*(claim(database) for _ in range(12)))
        first = [(lease.operator_id, lease.job) for lease in got if lease]
        assert sorted(first) == sorted(set(first))
        assert {o for o, job in first + await all_of(database) if job is Job.SYNC} == {OP_ONE, OP_OTHER}


async def test_a_dead_workers_job_is_taken_over_and_its_late_result_is_ignored(
    database_url: str,
) -> None:
    async with provisioned(database_url) as database:
        dead = await claim(database)
        assert dead is not None
        await all_of(database)
        again = await claim(database, 61)
        taken = {again} if again else set()
        while again is not None and (again.operator_id, again.job) != (dead.operator_id, dead.job):
            again = await claim(database, 61)
            taken |= {again} if again else set()
        assert again is not None
        assert again.token == dead.token + 1
        await release(database, dead, 0)
        async with database.transaction() as connection:
            assert not await jobs.held(connection, dead)
            assert await jobs.held(connection, again)
            await jobs.renew(connection, [dead], NOW + 100 * LEASE)
        assert (dead.operator_id, dead.job) in await all_of(database, 122), "the lease of `again` has ended"


async def test_a_job_that_is_asked_for_while_it_is_done_is_due_again_at_once(database_url: str) -> None:
    async with provisioned(database_url) as database:
        await all_of(database)
        async with database.transaction() as connection:
            await jobs.make_due(connection, OP_ONE, Job.SWEEP, NOW)
        lease = await claim(database)
        assert lease == JobLease(OP_ONE, Job.SWEEP, 1)
        async with database.transaction() as connection:
            await jobs.make_due(connection, OP_ONE, Job.SWEEP, NOW + SECOND)
            await jobs.renew(connection, [lease], NOW + 2 * LEASE)
        await release(database, lease, None)
        assert await claim(database, 1) == JobLease(OP_ONE, Job.SWEEP, 2)


async def test_a_job_without_a_new_request_stays_as_it_was_released(database_url: str) -> None:
    async with provisioned(database_url) as database:
        await all_of(database)
        async with database.transaction() as connection:
            await jobs.make_due(connection, OP_ONE, Job.SWEEP, NOW)
        lease = await claim(database)
        assert lease is not None
        async with database.transaction() as connection:
            await jobs.renew(connection, [lease], NOW + 2 * LEASE)
        await release(database, lease, None)
        assert (OP_ONE, Job.SWEEP) not in await all_of(database, 10_000)


async def test_a_job_that_failed_pauses_whoever_requests_it(database_url: str) -> None:
    async with provisioned(database_url) as database:
        await all_of(database)

        async def requested(after_s: int) -> None:
            async with database.transaction() as connection:
                await jobs.request(connection, OP_ONE, Job.SWEEP, NOW + after_s * SECOND)

        await requested(0)
        failed = await claim(database)
        assert failed == JobLease(OP_ONE, Job.SWEEP, 1)
        await requested(1)
        async with database.transaction() as connection:
            await jobs.pause(connection, failed, NOW + 40 * SECOND)
        await requested(2)
        assert await claim(database, 39) is None
        again = await claim(database, 40)
        assert again == JobLease(OP_ONE, Job.SWEEP, 2)
        await requested(41)
        await release(database, again, None)
        assert await claim(database, 41) == JobLease(OP_ONE, Job.SWEEP, 3), "of a request while it ran"
