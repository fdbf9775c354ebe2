"""Tests of app/store/sessions/leases.

F114: a statement that waited for a row's lock uses the row as it is then, not as it was when it began.

Each test holds a row that is due, requests it in another transaction, and only then commits a much later due time:
as a watcher does that releases a session while a report of it comes in.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text

from app.domain.charging.charge import ChargeReport, ChargeState
from app.domain.session.machine import Wait
from app.domain.units.ids import ChargeId
from app.store.db.connection import Connection
from app.store.db.database import Database
from app.store.operators import jobs, monta_access, operator_sessions, operator_state
from app.store.operators.jobs import Job
from app.store.operators.monta_access import Count, Quota
from app.store.sessions import inbox, leases, payment_sessions, polled_reports
from app.store.sessions.inbox import InboxEntry
from app.store.sessions.leases import Lease
from tests.conftest import PATIENCE_S
from tests.store.rows import NOW, OP_ONE, SECOND, a_session, change, provisioned, record, with_charge

pytestmark = pytest.mark.anyio

LATER = NOW + 3600 * SECOND
Ask = Callable[[Connection], Awaitable[object]]
WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


async def a_transaction_waits(database: Database) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with database.transaction() as connection:
                if (await connection.execute(WAITING)).scalar():
                    return
            await asyncio.sleep(0.005)


async def asked_while_held(database: Database, hold: Ask, ask: Ask) -> object:
    """Runs `ask` in a transaction that must wait for what `hold` did in another; returns its answer."""

    async def asking() -> object:
        async with database.transaction() as connection:
            return await ask(connection)

    async with database.transaction() as connection:
        await hold(connection)
        task = asyncio.create_task(asking())
        await a_transaction_waits(database)
    return await task


async def due_at(database: Database, table: str = "payment_sessions", where: str = "true") -> datetime | None:
    async with database.transaction() as connection:
        found: datetime | None = (
            await connection.execute(text(f"SELECT due_at FROM {table} WHERE {where}"))
        ).scalar_one()
    return found


async def release_later(connection: Connection) -> None:
    """As a watcher that has nothing more to do with it for an hour."""
    assert await payment_sessions.lock(connection, a_session("a").id) is not None
    await leases.release(connection, Lease(a_session("a").id, 0), Wait(LATER))


REPORT = ChargeReport(
    id=ChargeId("77"),
    state=ChargeState.CHARGING,
    seen_at=NOW,
    updated_at=NOW,
    energy_wh=5,
    partner_external_id="ps_a",
)
NEWS = {
    "webhook that bears the session's id": lambda c: inbox.keep(
        c, OP_ONE, [InboxEntry(dedupe_key="k", raw={}, session_reference="ps_a")], NOW
    ),
    "webhook that names its charge": lambda c: inbox.keep(
        c, OP_ONE, [InboxEntry(dedupe_key="k", raw={}, charge_id="77")], NOW
    ),
    "sweep": lambda c: polled_reports.keep(c, OP_ONE, [REPORT], NOW),
}


@pytest.mark.parametrize("news", NEWS)
async def test_F114_news_wakes_a_session_that_is_released_while_the_news_waits_for_its_row(
    database_url: str, news: str
) -> None:
    session = a_session("a")
    async with provisioned(database_url) as database:
        await record(database, session)
        await change(database, session, with_charge(session, "77"))
        await asked_while_held(database, release_later, NEWS[news])
        assert await due_at(database) == NOW


async def test_F114_a_start_that_waited_is_woken_though_it_is_just_being_put_off(
    database_url: str,
) -> None:
    """The reconciliation that starts wait for does not end between a watcher's look at it and its commit."""

    async def put_off(connection: Connection) -> None:
        assert await operator_state.starts_held_since(connection, OP_ONE) == NOW + SECOND
        await release_later(connection)

    async with provisioned(database_url) as database:
        await record(database, a_session("a"))
        async with database.transaction() as connection:
            await operator_state.want_reconciliation(connection, NOW + SECOND, patience=60 * SECOND)
        await asked_while_held(database, put_off, reconciled)
        async with database.transaction() as connection:
            assert await operator_state.starts_held_since(connection, OP_ONE) is None
            await operator_sessions.wake_authorized(connection, OP_ONE, NOW)
        assert await due_at(database) == NOW


async def test_starts_that_waited_are_woken_without_waiting_for_those_that_a_watcher_works_on(
    database_url: str,
) -> None:
    works, waits = a_session("a"), a_session("b", charge_point="102")
    async with provisioned(database_url) as database:
        await record(database, works)
        await record(database, waits)
        async with database.transaction() as working:
            assert await payment_sessions.lock(working, works.id) is not None
            async with database.transaction() as connection:
                await leases.reschedule(connection, {waits.id: Wait(LATER)}, NOW)
            async with database.transaction() as connection:
                await operator_sessions.wake_authorized(connection, OP_ONE, NOW)
            assert await due_at(database, where="id = 'ps_b'") == NOW


async def reconciled(connection: Connection) -> None:
    await operator_state.note_reconciled(
        connection, OP_ONE, NOW + SECOND, deep=False, next_at=LATER, problem=None
    )


async def test_F114_a_stop_request_wakes_a_session_that_is_released_meanwhile(database_url: str) -> None:
    session = a_session("a")

    async def stop_request(connection: Connection) -> None:
        assert await payment_sessions.lock(connection, session.id) is not None
        await payment_sessions.wake(connection, session.id, NOW)

    async with provisioned(database_url) as database:
        await record(database, session)
        await asked_while_held(database, release_later, stop_request)
        assert await due_at(database) == NOW


async def test_F114_a_job_that_is_claimed_meanwhile_is_asked_for_again(database_url: str) -> None:
    """The claim does not see yet what was requested: its release leaves the session due."""
    async with provisioned(database_url) as database:
        async with database.transaction() as connection:
            await connection.execute(text("UPDATE operator_jobs SET due_at = NULL"))
            await jobs.make_due(connection, OP_ONE, Job.SYNC, NOW)

        claimed: list[jobs.JobLease] = []

        async def claim(connection: Connection) -> None:
            lease = await jobs.claim(connection, now=NOW, until=NOW + 60 * SECOND)
            assert lease is not None
            claimed.append(lease)

        await asked_while_held(database, claim, lambda c: jobs.make_due(c, OP_ONE, Job.SYNC, NOW + SECOND))
        async with database.transaction() as connection:
            await jobs.release(connection, claimed[0], LATER)
        assert await due_at(database, "operator_jobs", "job = 'sync' AND due_at IS NOT NULL") == NOW + SECOND


async def test_F114_no_replica_claims_a_job_while_it_is_being_made_due(database_url: str) -> None:
    """It is due already; a claim now would miss what the caller has not committed yet."""
    async with provisioned(database_url) as database:
        async with database.transaction() as connection:
            await connection.execute(text("UPDATE operator_jobs SET due_at = NULL"))
            await jobs.make_due(connection, OP_ONE, Job.SYNC, NOW)
        async with database.transaction() as asking, database.transaction() as claiming:
            await jobs.make_due(asking, OP_ONE, Job.SYNC, NOW)
            assert await jobs.claim(claiming, now=NOW, until=NOW + 60 * SECOND) is None
        async with database.transaction() as connection:
            assert await jobs.claim(connection, now=NOW, until=NOW + 60 * SECOND) is not None


async def test_F114_a_request_that_an_old_version_refuses_is_granted_by_the_new_one(
    database_url: str,
) -> None:
    """The window is used up when the request asks, and is corrected before the reason is looked up."""
    async with provisioned(database_url) as database:
        async with database.transaction() as connection:
            await monta_access.open_budget(connection, OP_ONE, quota=10, window_s=600, now=NOW)
            await connection.execute(text("UPDATE monta_budgets SET remaining = 0"))
        statements = 0

        async def corrected_in_between(statement: Any, given: Any = None) -> object:
            nonlocal statements
            statements += 1
            if statements == 2:
                async with database.transaction() as other:
                    seen = Quota(total=10, window_s=600, remaining=9, ends_at=NOW + 60 * SECOND)
                    await monta_access.correct_budget(other, OP_ONE, seen)
            return await connection.execute(statement, given)

        async with database.transaction() as connection:
            taken = await monta_access.take_requests(
                SimpleNamespace(execute=corrected_in_between),  # type: ignore[arg-type]
                OP_ONE,
                reserve=Decimal("0.3"),
                urgent=False,
                now=NOW,
            )
    assert isinstance(taken, Count)
    assert taken.remaining == 8
