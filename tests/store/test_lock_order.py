"""Tests of app/store/sessions, app/store/kept_readings: rows are locked in one order, so that there is no deadlock.

Each row here was made before the one that comes before it: whatever takes them as it finds them takes the last first.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text

from app.domain.charging.charge import Charge
from app.domain.session.machine import Change, Source, Wait
from app.domain.session.payment_session import PaymentSession
from app.domain.session.states.journal import JournalKind
from app.domain.units.ids import SessionId
from app.store import kept_readings
from app.store.db.connection import Connection
from app.store.db.database import Database
from app.store.kept_readings import Allowance
from app.store.sessions import claimed, deliveries, inbox, leases, payment_sessions, recording
from app.store.sessions.deliveries import KeptDelivery
from app.store.sessions.inbox import InboxEntry
from app.store.sessions.recording import NewPayment
from tests.conftest import PATIENCE_S
from tests.store.rows import ALLOWED, NOW, OP_ONE, SECOND, a_session, change, provisioned, record, with_charge

pytestmark = pytest.mark.anyio

Work = Callable[[Connection], Awaitable[object]]
LAST_FIRST = ("3", "2", "1")


def charge_of(session: PaymentSession) -> Charge:
    assert session.charge is not None
    return session.charge


@asynccontextmanager
async def running(database_url: str) -> AsyncIterator[tuple[Database, list[PaymentSession]]]:
    """Three sessions whose readings may be kept, the last one made first, its charge the first one too."""
    async with provisioned(database_url) as database:
        sessions = []
        for name in LAST_FIRST:
            session = a_session(name, charge_point=f"10{name}")
            await record(database, session)
            session = await change(database, session, with_charge(session, f"7{4 - int(name)}", 100))
            async with database.transaction() as connection:
                await kept_readings.allow(connection, [Allowance(session, charge_of(session), ALLOWED)])
            sessions.append(session)
        yield database, sessions


async def is_waited_for(database: Database) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with database.read() as connection:
        return bool((await connection.execute(text(query))).scalar_one())


@asynccontextmanager
async def waiting(database: Database, hold: Work, work: Work) -> AsyncIterator[None]:
    """Begins work that has to wait for what another transaction holds, and waits until it does. It may go on then."""

    async def working() -> None:
        async with database.transaction() as connection:
            await work(connection)

    async with database.transaction() as holder:
        await hold(holder)
        task = asyncio.create_task(working())
        async with asyncio.timeout(PATIENCE_S):
            while not await is_waited_for(database):
                assert not task.done()
                await asyncio.sleep(0.01)
        yield
    await task


def row(table: str, key: str, session: str) -> Work:
    """Locks a row, and does not wait for it."""
    query = text(f"SELECT 1 FROM {table} WHERE {key} = 'ps_{session}' FOR UPDATE NOWAIT")

    async def lock(connection: Connection) -> None:
        assert (await connection.execute(query)).rowcount == 1

    return lock


async def named(connection: Connection, sessions: Sequence[PaymentSession]) -> object:
    return await payment_sessions.lock_named(connection, OP_ONE, [charge_of(s).id for s in sessions], [])


async def beside(connection: Connection, sessions: Sequence[PaymentSession]) -> object:
    return await kept_readings.lock(connection, OP_ONE, [charge_of(s).id for s in sessions])


async def beside_locked(connection: Connection, sessions: Sequence[PaymentSession]) -> object:
    return await kept_readings.lock_of(connection, [s.id for s in sessions])


async def claims(connection: Connection, sessions: Sequence[PaymentSession]) -> object:
    held = [leases.Lease(SessionId(s.id), 0, OP_ONE) for s in sessions]
    return await claimed.lock(connection, held, wait=True)


async def rescheduled(connection: Connection, sessions: Sequence[PaymentSession]) -> object:
    await leases.reschedule(connection, {s.id: Wait(NOW) for s in sessions}, NOW)
    return len(sessions)


@pytest.mark.parametrize(
    ("work", "table", "key"),
    [
        (named, "payment_sessions", "id"),
        (claims, "payment_sessions", "id"),
        (rescheduled, "payment_sessions", "id"),
        (beside, "kept_readings", "session_id"),
        (beside_locked, "kept_readings", "session_id"),
    ],
)
async def test_rows_are_locked_in_the_order_of_their_sessions(
    database_url: str,
    work: Callable[[Connection, Sequence[PaymentSession]], Awaitable[object]],
    table: str,
    key: str,
) -> None:
    async with running(database_url) as (database, sessions):
        first, last = row(table, key, "1"), row(table, key, "3")
        async with (
            waiting(database, first, lambda connection: work(connection, sessions)),
            database.transaction() as other,
        ):
            await last(other)
        async with database.transaction() as connection:
            assert await work(connection, sessions)


def entries(*names: str) -> Work:
    return lambda connection: inbox.keep(
        connection, OP_ONE, [InboxEntry(dedupe_key=name, raw={}) for name in names], NOW
    )


def delivered(*names: str) -> Work:
    kept = [KeptDelivery(digest=name.encode() * 32, signature="", body=b"") for name in names]
    return lambda connection: deliveries.keep(connection, OP_ONE, kept, NOW)


def paid(*names: str) -> Work:
    new = [
        NewPayment(
            change=Change(a_session(f"{name}{at}", charge_point=f"10{name}", at=NOW + at * SECOND)).note(
                JournalKind.PAYMENT_AUTHORIZED, Source.TERMINAL
            ),
            request_hash=b"same",
            idempotency_key=None,
        )
        for at, name in enumerate(names, len(names))
    ]
    return lambda connection: recording.record(connection, new)


@pytest.mark.parametrize("rows", [entries, delivered, paid])
async def test_rows_are_inserted_in_the_order_of_what_is_unique_about_them(
    database_url: str, rows: Callable[..., Work]
) -> None:
    async with provisioned(database_url) as database:
        async with (
            waiting(database, rows("1"), rows(*LAST_FIRST)),
            database.transaction(lock_ms=500) as other,
        ):
            await rows("3")(other)
        assert not await is_waited_for(database)
