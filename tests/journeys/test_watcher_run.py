"""Tests of app/watcher: what a running watcher does beside its sessions, and how it goes on and ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from app.embedded.cluster import SERVICE
from app.flows.admin import database_checks
from app.flows.session.claim import JOB_LEASE_S, is_anything_due
from app.monta.transport import Timeouts
from app.store.db.secret_box import SecretBox
from app.store.operators import jobs
from app.store.operators.jobs import Job
from app.store.operators.secret_keys import WrongSecretKey
from app.watcher import Watcher
from tests.build_context import SECRET_KEY
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


async def test_a_job_that_fails_ends_nothing_else_and_is_due_again_after_its_lease(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    async with open_rig(database_url) as rig:
        monkeypatch.setattr("app.watcher.run_job", broken)
        await rig.authorize(106, 5000)
        async with rig.context.database.transaction() as connection:
            await jobs.make_due(connection, rig.operator.operator_id, Job.SYNC, rig.clock.now())
        with capture_logs() as logs:
            assert await rig.watchers[0].run_round() == 2
        assert [line["event"] for line in logs if line["log_level"] == "error"] == ["job_failed"]
        assert len(starts(rig)) == 1
        assert not rig.watchers[0]._held_jobs
        await rig.clock.advance(JOB_LEASE_S)
        assert await is_anything_due(rig.context)


async def test_with_a_wrong_secret_key_it_ends_before_it_claims_anything(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wrong(_: object) -> None:
        raise WrongSecretKey("another", SecretBox(SECRET_KEY))

    monkeypatch.setattr(database_checks, "check_secret_key", wrong)
    async with open_rig(database_url) as rig:
        await rig.authorize(106, 5000)
        watcher = rig.watchers[0]
        running = asyncio.ensure_future(watcher.run())
        await asyncio.wait([running], timeout=PATIENCE_S)
        watcher.stop()
        with pytest.raises(WrongSecretKey):
            await running
        assert await value(rig, "SELECT max(lease_token) FROM payment_sessions") == 0
