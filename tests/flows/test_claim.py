"""Tests of app/flows/session/claim: how much is claimed of what is due, and what a step that could not run leaves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.domain.session.machine import Wait
from app.domain.session.payment_session import PaymentSession, Status, Stop, StopReason
from app.domain.units.ids import OperatorId, SessionId
from app.flows.context import Context
from app.flows.session import claim
from app.flows.session.advance import yield_session
from app.flows.session.claim import JOB_LEASE_S, Capacity
from app.store.db.database import Database
from app.store.operators import jobs
from app.store.operators.jobs import Job
from app.store.sessions import leases, payment_sessions
from app.store.sessions.leases import Lease
from tests.api.service import make_context
from tests.store.rows import (
    NOW,
    OP_ONE,
    OP_OTHER,
    SECOND,
    TRM_ONE,
    TRM_OTHER,
    a_session,
    change,
    provisioned,
    record,
    with_charge,
)
from tests.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def opened(database_url: str) -> AsyncIterator[tuple[Context, Database]]:
    """The flows' context at NOW, with two operators, and no job that is due."""
    async with provisioned(database_url) as database:
        async with database.transaction() as connection:
            await connection.execute(text("UPDATE operator_jobs SET due_at = NULL"))
        yield make_context(database, VirtualClock(NOW)), database


async def due(database: Database, count: int, *, stops: int = 0, operator_id: OperatorId = OP_ONE) -> None:
    """So many sessions that are due, the first of them for a stop, each longer overdue than the one before."""
    terminal = TRM_ONE if operator_id == OP_ONE else TRM_OTHER
    async with database.transaction() as connection:
        await jobs.make_due(connection, operator_id, Job.SYNC, NOW)
    for n in range(count):
        session = a_session(
            f"{operator_id}_{n}",
            charge_point=f"10{n + 1}",
            terminal=terminal,
            operator_id=operator_id,
            at=NOW - (n + 1) * SECOND,
        )
        await record(database, session)
        if n < stops:
            at = NOW - (n + 1) * SECOND
            async with database.transaction() as connection:
                await leases.reschedule(connection, {session.id: Wait(at, at)}, NOW)


async def claimed(
    context: Context, capacity: Capacity, busy: dict[OperatorId, int] | None = None
) -> tuple[list[tuple[str, bool]], bool]:
    """Sessions with whether they are claimed for a stop, and whether a job is claimed."""
    found, job = await claim.claim_due(
        context, owner="w", capacity=capacity, busy=busy or {}, per_operator=10
    )
    return [(lease.session_id.removeprefix("ps_"), lease.for_stop) for lease in found], job is not None


async def test_stops_come_first_and_no_more_is_claimed_than_there_is_capacity_for(database_url: str) -> None:
    async with opened(database_url) as (context, database):
        await due(database, 4, stops=2)
        found, job = await claimed(context, Capacity(stops=1, others=2, jobs=1))
        assert found[0] == ("op_one_1", True), "the one that waits for longer"
        assert {each for each, for_stop in found[1:] if not for_stop} == {"op_one_3", "op_one_2"}
        assert job
        async with database.read() as connection:
            ends = "SELECT max(lease_until) FROM {}"
            session_until = await connection.execute(text(ends.format("payment_sessions")))
            job_until = await connection.execute(text(ends.format("operator_jobs")))
        assert session_until.scalar_one() == NOW + timedelta(seconds=context.lease_s)
        assert job_until.scalar_one() == NOW + timedelta(seconds=JOB_LEASE_S)


@pytest.mark.parametrize("none", [0, -1])
async def test_only_stops_are_claimed_where_nothing_else_has_a_slot(database_url: str, none: int) -> None:
    """Others and a job that were claimed together may be one more than their slots."""
    async with opened(database_url) as (context, database):
        await due(database, 2, stops=1)
        found = await claimed(context, Capacity(stops=5, others=none, jobs=none))
        assert found == ([("op_one_0", True)], False)


@pytest.mark.parametrize(
    ("busy", "first"), [({}, OP_ONE), ({OP_ONE: 3}, OP_OTHER), ({OP_ONE: 3, OP_OTHER: 4}, OP_ONE)]
)
async def test_a_stop_of_the_operator_with_the_least_work_comes_first(
    database_url: str, busy: dict[OperatorId, int], first: OperatorId
) -> None:
    async with opened(database_url) as (context, database):
        await due(database, 2, stops=2)
        await due(database, 1, stops=1, operator_id=OP_OTHER)
        ((session, for_stop),), _ = await claimed(context, Capacity(stops=1, others=0, jobs=0), busy)
        assert (session.startswith(first), for_stop) == (True, True)


@asynccontextmanager
async def stopping(database_url: str) -> AsyncIterator[tuple[Context, Database, Lease]]:
    """A session whose stop is intended and was perhaps not sent, and the claim for it."""
    async with opened(database_url) as (context, database):
        session = a_session()
        await record(database, session)
        stop = Stop(
            reason=StopReason.LIMIT_REACHED, decided_at=NOW, attempts=1, next_at=NOW + timedelta(seconds=30)
        )
        running = with_charge(session, "77", 100)
        await change(database, session, replace(running, status=Status.STOPPING, stop=stop))
        async with database.transaction() as connection:
            (lease,) = await leases.claim(
                connection, owner="w", now=NOW, until=NOW + timedelta(seconds=30), limit=1
            )
        yield context, database, lease


async def stored(database: Database, lease: Lease) -> tuple[PaymentSession, object]:
    """The session, and its columns of due times and claims."""
    async with database.read() as connection:
        session = await payment_sessions.get(connection, SessionId(lease.session_id))
        assert session is not None
        query = "SELECT due_at, lease_owner, lease_until, failures, version FROM payment_sessions"
        return session, tuple((await connection.execute(text(query))).one())


async def lines(database: Database) -> int:
    async with database.read() as connection:
        query = text("SELECT count(*) FROM journal WHERE kind = 'stop_failed'")
        return int((await connection.execute(query)).scalar_one())


async def test_a_stop_that_was_perhaps_not_sent_is_due_again_at_once_and_said_so_once(
    database_url: str,
) -> None:
    async with stopping(database_url) as (context, database, lease):
        for _ in range(2):  # the second time it is released already
            await claim.release_unchanged(context, lease, "the database was away")
            session, columns = await stored(database, lease)
            assert session.stop is not None
            assert (session.stop.attempts, session.stop.next_at) == (1, None)
            assert isinstance(columns, tuple)
            assert columns[:4] == (NOW, None, None, 0)
            assert await lines(database) == 1


async def test_a_late_worker_releases_and_changes_nothing_of_the_one_that_took_over(
    database_url: str,
) -> None:
    async with stopping(database_url) as (context, database, lease):
        late = replace(lease, token=lease.token - 1)
        before = await stored(database, lease)
        await claim.release_unchanged(context, late, "the database was away")
        await claim.release_failed(context, late)
        await yield_session(context, late)
        assert await stored(database, lease) == before
        assert await lines(database) == 0
        await yield_session(context, lease)
        _, columns = await stored(database, lease)
        assert isinstance(columns, tuple)
        assert columns[:4] == (NOW, None, None, 0), "due again at once"
