"""Tests of app/watcher: what a running watcher does beside its sessions, and how it goes on and ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from app.embedded.cluster import SERVICE
from app.monta.transport import Timeouts
from app.watcher import Watcher
from tests.conftest import PATIENCE_S
from tests.journeys.checks import starts
from tests.journeys.rig import Rig, open_rig
from tests.postgres import run_as_owner

pytestmark = pytest.mark.anyio

LEASED_UNTIL = "SELECT max(lease_until) FROM payment_sessions"


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[tuple[Watcher, "asyncio.Task[None]"]]:
    watcher = rig.watchers[0]
    task = asyncio.create_task(watcher.run())
    try:
        yield watcher, task
    finally:
        watcher.stop()
        await rig.clock.advance(60)
        await task


async def value(rig: Rig, query: str) -> object:
    async with rig.context.database.read() as connection:
        return (await connection.execute(text(query))).scalar_one()


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await done():  # noqa: ASYNC110  the watcher tells nobody
            await asyncio.sleep(0.01)


async def hanging(rig: Rig) -> Awaitable[object]:
    """A session whose start takes 40 seconds. Returns what waits until it was sent."""
    sent = asyncio.Event()

    async def hang() -> None:
        sent.set()
        await rig.clock.sleep(40)

    rig.line.meanwhile["POST /charges"] = hang
    await rig.authorize(106, 5000)
    return asyncio.wait_for(sent.wait(), PATIENCE_S)


async def test_it_compares_with_monta_first_writes_heartbeats_and_keeps_its_leases(database_url: str) -> None:
    async with open_rig(database_url, timeouts=Timeouts(start_s=50)) as rig:
        async with rig.context.database.transaction() as connection:
            await connection.execute(text("UPDATE operator_jobs SET due_at = NULL, lease_token = 0"))
        sent = await hanging(rig)
        async with running(rig) as (watcher, _):
            await sent
            before = await value(rig, LEASED_UNTIL)
            assert isinstance(before, datetime)

            async def compares_and_is_ready() -> bool:
                compared = "SELECT lease_token FROM operator_jobs WHERE job = 'reconcile'"
                return await value(rig, compared) == 1 and watcher.is_ready()

            await until(compares_and_is_ready)
            await rig.clock.advance(rig.context.lease_s / 3)

            async def kept() -> bool:
                return await value(rig, LEASED_UNTIL) == before + timedelta(seconds=rig.context.lease_s / 3)

            await until(kept)


async def test_it_ends_once_the_work_under_way_has_ended(database_url: str) -> None:
    async with open_rig(database_url, timeouts=Timeouts(start_s=50)) as rig:
        sent = await hanging(rig)
        async with running(rig) as (watcher, task):
            await sent
            watcher.stop()
            for _ in range(5):
                await value(rig, LEASED_UNTIL)
            assert not task.done()
            await rig.clock.advance(45)
            await task
            assert await value(rig, LEASED_UNTIL) is None
        assert len(starts(rig)) == 1


async def test_it_goes_on_after_the_database_has_refused_its_claims(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.authorize(106, 5000)
        with capture_logs() as logs:
            await run_as_owner(database_url, f"REVOKE UPDATE ON payment_sessions FROM {SERVICE}")
            try:
                async with running(rig) as (_, task):

                    async def refused() -> bool:
                        return any(line["event"] == "database_trouble" for line in logs)

                    await until(refused)
                    await run_as_owner(database_url, f"GRANT UPDATE ON payment_sessions TO {SERVICE}")

                    async def started() -> bool:
                        return len(starts(rig)) == 1

                    await until(started)
                    assert not task.done()
            finally:
                await run_as_owner(database_url, f"GRANT UPDATE ON payment_sessions TO {SERVICE}")
