"""Kept readings: loaded with their session, dropped when it is saved, and they put off nothing but silence."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from app.domain.charging.charge import Charge
from app.domain.session.machine import Change, Wait
from app.domain.session.payment_session import PaymentSession, Status
from app.domain.session.states.kept_readings import Told, keep_reading
from app.domain.units.ids import ChargeId
from app.store import kept_readings, session_states
from app.store.db.connection import Connection
from app.store.db.database import Database
from app.store.kept_readings import Allowance
from app.store.sessions import leases, payment_sessions
from app.store.sessions.session_filter import SessionFilter
from tests.store.rows import (
    ALLOWED,
    NOW,
    OP_ONE,
    OP_OTHER,
    SEALER,
    SECOND,
    a_session,
    change,
    provisioned,
    record,
    with_charge,
)

pytestmark = pytest.mark.anyio

CHARGE = ChargeId("77")
HOUR = timedelta(hours=1)


def told(seconds: int, energy_wh: int) -> Told:
    return Told(
        charge_id=CHARGE,
        reference=None,
        said="as ever",
        updated_at=NOW + seconds * SECOND,
        happened_at=None,
        energy_wh=energy_wh,
        price=None,
        price_per_kwh=None,
    )


async def keep(connection: Connection, *readings: Told) -> int:
    """Keeps readings of the charge; returns how many rows allowed it."""
    found = await kept_readings.lock(connection, OP_ONE, [CHARGE])
    for beside in found:
        kept = beside.kept
        for each in readings:
            more = keep_reading(beside.allowed, kept, each, each.updated_at)
            assert more is not None
            kept = more
        await kept_readings.keep(connection, [(beside, kept)])
    return len(found)


@asynccontextmanager
async def running(
    database_url: str, due_at: datetime
) -> AsyncIterator[tuple[Database, PaymentSession, Charge]]:
    """A session whose readings may be kept, and which is due for silence only."""
    async with provisioned(database_url) as database:
        session = a_session()
        await record(database, session)
        session = await change(database, session, with_charge(session, CHARGE, 100))
        assert session.charge is not None
        async with database.transaction() as connection:
            (lease,) = await leases.claim(connection, owner="w", now=NOW, until=NOW + HOUR, limit=1)
            await leases.release(connection, lease, Wait(due_at, NOW + HOUR, for_silence=True))
            await kept_readings.allow(connection, [Allowance(session, session.charge, ALLOWED)])
        yield database, session, session.charge


async def due_at(database: Database) -> datetime | None:
    async with database.read() as connection:
        found = await connection.execute(text("SELECT due_at FROM payment_sessions"))
        at: datetime | None = found.scalar_one()
        return at


async def test_a_session_is_loaded_with_its_kept_readings_and_saved_with_them(database_url: str) -> None:
    async with running(database_url, NOW + HOUR) as (database, session, _):
        async with database.transaction() as connection:
            assert await keep(connection, told(10, 110), told(20, 120)) == 1
            assert await kept_readings.lock(connection, OP_OTHER, [CHARGE]) == []
            assert await kept_readings.lock(connection, OP_ONE, [ChargeId("78")]) == []
        async with database.transaction() as connection:
            (state,) = await session_states.get_states(connection, [session.id])
            shown = state[1]
            assert (shown.energy_wh, shown.version, shown.beside) == (120, session.version + 2, 2)
            assert [p.energy_wh for p in shown.meter_history.points] == [110, 120]
            locked = await payment_sessions.lock(connection, session.id)
            assert locked == shown
            saved = await payment_sessions.save(connection, shown, Change(shown), NOW, SEALER)
            assert (saved.version, saved.beside) == (shown.version, 0)
        async with database.transaction() as connection:
            again = await payment_sessions.get(connection, session.id)
            assert again is not None
            assert replace(again, beside=None) == replace(saved, beside=None)
            assert await keep(connection, told(30, 130)) == 0, "nothing more is allowed"
            query = text("SELECT detail->>'readings' FROM journal WHERE detail ? 'readings'")
            assert (await connection.execute(query)).scalars() == ["2"]


async def test_each_kept_reading_is_a_version_for_those_who_wait_for_changes(database_url: str) -> None:
    async with running(database_url, NOW + HOUR) as (database, session, _):
        async with database.transaction() as connection:
            await keep(connection, told(1, 110), told(2, 120))
        async with database.read() as connection:
            loaded = await payment_sessions.get(connection, session.id)
            (state,) = await session_states.states_of(connection, SessionFilter(ids=[session.id]))
            seen = await session_states.versions(connection, [session.id])
        assert loaded is not None
        assert loaded.version == state.shown_version == seen[session.id] == state.version + 2


async def test_of_an_ended_session_nothing_is_kept(database_url: str) -> None:
    async with running(database_url, NOW + HOUR) as (database, session, _):
        locked = await change(database, session, replace(session, status=Status.NOT_STARTED))
        assert locked.ended
        async with database.read() as connection:
            assert (await connection.execute(text("SELECT count(*) FROM kept_readings"))).scalar() == 0


async def test_readings_put_off_silence_and_no_more_than_was_allowed(database_url: str) -> None:
    silent_at = NOW + 72 * SECOND
    async with running(database_url, silent_at) as (database, _, _):
        async with database.transaction() as connection:
            await keep(connection, told(60, 110))
            await leases.postpone(connection, silent_at - SECOND)
        assert await due_at(database) == silent_at, "not before it is due"
        async with database.transaction() as connection:
            await leases.postpone(connection, silent_at)
        assert await due_at(database) == silent_at + 60 * SECOND
        async with database.transaction() as connection:
            await leases.postpone(connection, silent_at + 60 * SECOND)
        assert await due_at(database) == silent_at + 60 * SECOND, "it is silent now"


async def test_a_session_that_is_due_for_anything_else_is_not_put_off(database_url: str) -> None:
    silent_at = NOW + 72 * SECOND
    async with running(database_url, silent_at) as (database, session, _):
        async with database.transaction() as connection:
            await keep(connection, told(60, 110))
            await payment_sessions.lock(connection, session.id)
            await leases.wake(connection, [session.id], silent_at)
            await leases.postpone(connection, silent_at)
        assert await due_at(database) == silent_at, "woken in the moment in which it was due anyway"
        async with database.transaction() as connection:
            assert (
                len(await leases.claim(connection, owner="w", now=silent_at, until=silent_at, limit=1)) == 1
            )


async def test_a_session_whose_stop_is_due_is_not_put_off(database_url: str) -> None:
    silent_at = NOW + 72 * SECOND
    async with running(database_url, silent_at) as (database, session, _):
        async with database.transaction() as connection:
            await keep(connection, told(60, 110))
            await payment_sessions.lock(connection, session.id)
            stop_due = Wait(silent_at, silent_at, for_silence=True)
            await leases.reschedule(connection, {session.id: stop_due}, NOW)
            await leases.postpone(connection, silent_at)
        assert await due_at(database) == silent_at
