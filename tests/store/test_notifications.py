"""Tests of app/store/sessions/leases, app/store/operators/jobs: what falls due, or was changed, is announced."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from app.domain.session.machine import Change, Wait
from app.domain.session.payment_session import PaymentSession
from app.store.db.connection import Connection
from app.store.db.database import DUE_CHANNEL, SESSIONS_CHANNEL, Database
from app.store.operators import jobs
from app.store.operators.jobs import Job
from app.store.sessions import leases, payment_sessions
from tests.conftest import PATIENCE_S
from tests.postgres import as_superuser
from tests.store.rows import (
    NOW,
    OP_ONE,
    SEALER,
    SECOND,
    a_session,
    change,
    provisioned,
    record,
    with_charge,
)

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def resting(
    database_url: str,
) -> AsyncIterator[tuple[Database, PaymentSession, "asyncio.Queue[tuple[str, str]]"]]:
    """A running session that is due later; and what is announced from then on."""
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    async with provisioned(database_url) as database:
        await record(database, a_session())
        session = await change(database, a_session(), with_charge(a_session(), "77", 100))
        async with database.transaction() as connection:
            (lease,) = await leases.claim(connection, owner="w", now=NOW, until=NOW + 60 * SECOND, limit=1)
            await leases.release(connection, lease, Wait(NOW + 60 * SECOND))
        ear = await asyncpg.connect(as_superuser(database_url))
        for channel in (DUE_CHANNEL, SESSIONS_CHANNEL):
            await ear.add_listener(channel, lambda _c, _p, where, what: heard.put_nowait((where, what)))
        try:
            yield database, session, heard
        finally:
            ear.terminate()


async def woken(connection: Connection, session: PaymentSession) -> None:
    await leases.wake(connection, [session.id], NOW)


async def rescheduled(connection: Connection, session: PaymentSession) -> None:
    await leases.reschedule(connection, {session.id: Wait(NOW)}, NOW)


async def job_made_due(connection: Connection, _: PaymentSession) -> None:
    await jobs.make_due(connection, OP_ONE, Job.SWEEP, NOW)


async def saved(connection: Connection, session: PaymentSession) -> None:
    later = with_charge(session, "77", 200)
    await payment_sessions.save(connection, session, Change(later), NOW, SEALER)


@pytest.mark.parametrize(
    ("work", "announced"),
    [
        (woken, (DUE_CHANNEL, "")),
        (rescheduled, (DUE_CHANNEL, "")),
        (job_made_due, (DUE_CHANNEL, "")),
        (saved, (SESSIONS_CHANNEL, "ps_a")),
    ],
)
async def test_it_is_announced_after_the_commit(
    database_url: str,
    work: Callable[[Connection, PaymentSession], Awaitable[None]],
    announced: tuple[str, str],
) -> None:
    async with resting(database_url) as (database, session, heard):
        async with database.transaction() as connection:
            await work(connection, session)
        assert await asyncio.wait_for(heard.get(), PATIENCE_S) == announced
