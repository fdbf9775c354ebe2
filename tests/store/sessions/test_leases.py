"""One watcher works on a session at a time, and a late one changes nothing."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from app.domain.session.machine import Wait
from app.domain.units.ids import ChargePointId, OperatorId, SessionId, TerminalId
from app.store.db.database import Database
from app.store.operators import terminals
from app.store.operators.terminals import Terminal
from app.store.sessions import leases, payment_sessions
from app.store.sessions.leases import Lease
from tests.conftest import PATIENCE_S
from tests.store.rows import NOW, OP_ONE, OP_OTHER, SECOND, TRM_ONE, TRM_OTHER, a_session, provisioned, record

pytestmark = pytest.mark.anyio

LEASE = 30 * SECOND


async def claim(database: Database, *, now: datetime = NOW, limit: int = 10, owner: str = "w") -> list[Lease]:
    async with database.transaction() as connection:
        return await leases.claim(connection, owner=owner, now=now, until=now + LEASE, limit=limit)


async def four_sessions(database: Database) -> None:
    for n in range(4):
        await record(database, a_session(f"{n}", charge_point=f"10{n + 1}", at=NOW - n * SECOND))


async def test_many_who_claim_at_once_share_out_what_is_due(database_url: str) -> None:
    async with provisioned(database_url) as database:
        await four_sessions(database)
        other = Database(database_url)
        try:
            claims = [claim((database, other)[n % 2], limit=1, owner=f"w{n}") for n in range(16)]
            got = [lease.session_id for part in await asyncio.gather(*claims) for lease in part]
        finally:
            await other.close()
        assert len(got) == len(set(got)), "no watcher gets what another has"
        got += [lease.session_id for lease in await claim(database)]
    assert sorted(got) == ["ps_0", "ps_1", "ps_2", "ps_3"]


async def test_the_most_overdue_comes_first_and_nothing_before_its_time(database_url: str) -> None:
    async with provisioned(database_url) as database:
        await four_sessions(database)
        first = await claim(database, now=NOW - SECOND, limit=2)
        assert sorted(lease.session_id for lease in first) == ["ps_2", "ps_3"]
        assert [lease.session_id for lease in await claim(database, now=NOW - SECOND)] == ["ps_1"]
        assert await claim(database, now=NOW - SECOND) == []


async def test_a_lease_that_ran_out_is_taken_over_and_the_late_one_is_fenced_off(database_url: str) -> None:
    async with provisioned(database_url) as database:
        await record(database, a_session())
        (late,) = await claim(database)
        assert await claim(database, now=NOW + LEASE - SECOND) == []
        (taken,) = await claim(database, now=NOW + LEASE, owner="other")
        assert taken.token == late.token + 1
        async with database.transaction() as connection:
            assert await payment_sessions.lock(connection, late.session_id, lease_token=late.token) is None
            assert await payment_sessions.lock(connection, late.session_id, lease_token=taken.token)
            assert await leases.release_failed(connection, late, NOW + LEASE) is None
        assert await claim(database, now=NOW + LEASE + SECOND) == []


async def test_a_late_worker_that_could_do_nothing_leaves_the_new_owners_claim_alone(
    database_url: str,
) -> None:
    row = text("SELECT due_at, lease_owner, lease_until, lease_token FROM payment_sessions")
    async with provisioned(database_url) as database:
        await record(database, a_session())
        (late,) = await claim(database)
        (taken,) = await claim(database, now=NOW + LEASE, owner="other")
        async with database.transaction() as connection:
            before = (await connection.execute(row)).one()
            await leases.release_unchanged(connection, late, NOW + LEASE + SECOND)
            assert (await connection.execute(row)).one() == before
            assert (before.lease_owner, before.lease_until) == ("other", NOW + 2 * LEASE)
            await leases.release_unchanged(connection, taken, NOW + LEASE + SECOND)
            left = (await connection.execute(row)).one()
        assert (left.due_at, left.lease_owner, left.lease_until) == (NOW + LEASE + SECOND, None, None)


async def test_a_renewal_keeps_its_own_claim_and_no_other_workers(database_url: str) -> None:
    until = text("SELECT lease_until FROM payment_sessions")
    later = NOW + 5 * LEASE
    async with provisioned(database_url) as database:
        await record(database, a_session())
        (late,) = await claim(database)
        (taken,) = await claim(database, now=NOW + LEASE, owner="other")
        async with database.transaction() as connection:
            await leases.renew(connection, [late], later)
            assert (await connection.execute(until)).scalar_one() == NOW + 2 * LEASE
            await leases.renew(connection, [late, taken], later)
            assert (await connection.execute(until)).scalar_one() == later
            await leases.release(connection, taken, Wait(NOW))
            await leases.renew(connection, [taken], later)
            assert (await connection.execute(until)).scalar_one() is None, "what was released stays free"


async def test_what_was_released_is_due_at_its_next_time(database_url: str) -> None:
    async with provisioned(database_url) as database:
        await record(database, a_session())
        (lease,) = await claim(database)
        async with database.transaction() as connection:
            await leases.release(connection, lease, Wait(NOW + 5 * SECOND))
            assert await leases.next_due(connection) == NOW
            await connection.execute(text("UPDATE operator_jobs SET due_at = NULL"))
            assert await leases.next_due(connection) == NOW + 5 * SECOND
            assert await leases.oldest_due(connection, NOW) is None
            assert await leases.oldest_due(connection, NOW + 6 * SECOND) == NOW + 5 * SECOND
        assert await claim(database, now=NOW + 4 * SECOND) == []
        (again,) = await claim(database, now=NOW + 5 * SECOND)
        async with database.transaction() as connection:
            assert await leases.next_due(connection) is None, "what is claimed is not waited for"
            await leases.release(connection, again, Wait(None))
        assert await claim(database, now=NOW + timedelta(days=30)) == []


async def test_a_session_that_crashes_its_handler_waits_longer_and_longer(database_url: str) -> None:  # F93
    waits: list[float] = []
    alarmed: list[bool] = []
    async with provisioned(database_url) as database:
        await record(database, a_session())
        now = NOW
        for n in range(10):
            (lease,) = await claim(database, now=now)
            async with database.transaction() as connection:
                assert await leases.release_failed(connection, lease, now) == n + 1
                row = (await connection.execute(text("SELECT * FROM payment_sessions"))).one()
            waits.append((row.due_at - now).total_seconds())
            alarmed.append(row.needs_attention)
            now = row.due_at
        (lease,) = await claim(database, now=now)
        async with database.transaction() as connection:
            await leases.release(connection, lease, Wait(now))
            row = (await connection.execute(text("SELECT * FROM payment_sessions"))).one()
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 256, 256]
    assert alarmed == [False, False] + 8 * [True]
    assert (row.failures, row.needs_attention) == (0, False)


async def test_a_locked_row_is_skipped_not_waited_for(database_url: str) -> None:
    async with provisioned(database_url) as database:
        await four_sessions(database)
        async with database.transaction() as connection:
            await payment_sessions.lock(connection, SessionId("ps_0"))
            got = await asyncio.wait_for(claim(database), PATIENCE_S)
    assert sorted(lease.session_id for lease in got) == ["ps_1", "ps_2", "ps_3"]


async def due_sessions(database: Database, operator_id: OperatorId, terminal: TerminalId, count: int) -> None:
    """As many charge points as sessions: each is due at the same moment."""
    points = [ChargePointId(str(n)) for n in range(1000, 1000 + count)]
    async with database.transaction() as connection:
        await terminals.assign(connection, Terminal(terminal, operator_id, "tapwatt", "lane"), points)
    for number, point in enumerate(points):
        name = f"{operator_id}_{number}"
        session = a_session(name, charge_point=point, terminal=terminal, operator_id=operator_id)
        assert await record(database, session)


async def claim_fairly(
    database: Database, *, limit: int, busy: dict[OperatorId, int] | None = None, per_operator: int = 9
) -> Counter[str]:
    async with database.transaction() as connection:
        got = await leases.claim(
            connection,
            owner="fair",
            now=NOW,
            until=NOW + LEASE,
            limit=limit,
            busy=busy,
            per_operator=per_operator,
        )
    return Counter(lease.operator_id for lease in got)


async def test_F56_a_noisy_operator_does_not_starve_another(database_url: str) -> None:
    async with provisioned(database_url) as database:
        await due_sessions(database, OP_ONE, TRM_ONE, 40)
        await due_sessions(database, OP_OTHER, TRM_OTHER, 3)
        assert await claim_fairly(database, limit=8) == {OP_ONE: 5, OP_OTHER: 3}


async def test_F56_the_operator_with_less_work_comes_first_and_none_takes_all_slots(
    database_url: str,
) -> None:
    async with provisioned(database_url) as database:
        await due_sessions(database, OP_ONE, TRM_ONE, 20)
        await due_sessions(database, OP_OTHER, TRM_OTHER, 20)
        assert await claim_fairly(database, limit=4, busy={OP_ONE: 6}) == {OP_OTHER: 4}
        assert await claim_fairly(database, limit=9, busy={OP_ONE: 9, OP_OTHER: 4}) == {OP_OTHER: 5}
        assert await claim_fairly(database, limit=9, busy={OP_ONE: 9, OP_OTHER: 9}) == {}


async def claim_stops(database: Database, now: datetime = NOW) -> list[Lease]:
    async with database.transaction() as connection:
        return await leases.claim(connection, owner="w", now=now, until=now + LEASE, limit=10, stops=True)


async def test_only_sessions_whose_stop_is_due_are_claimed_for_stops(database_url: str) -> None:
    async with provisioned(database_url) as database:
        await four_sessions(database)
        ours = await claim(database)
        assert await claim_stops(database) == []
        waits = [Wait(NOW), Wait(NOW + SECOND, NOW + 9 * SECOND), Wait(NOW, NOW), Wait(None)]
        async with database.transaction() as connection:
            for lease, wait in zip(ours, waits, strict=True):
                await leases.release(connection, lease, wait)
            assert await leases.next_due(connection, stops=True) == NOW
        (first,) = await claim_stops(database)
        assert (first.session_id, first.for_stop, first.due_at) == (ours[2].session_id, True, NOW)
        (second,) = await claim_stops(database, NOW + 9 * SECOND)
        assert second.session_id == ours[1].session_id


async def test_a_stop_is_late_from_its_own_due_time_on(database_url: str) -> None:
    async with provisioned(database_url) as database:
        await record(database, a_session())
        (lease,) = await claim(database)
        async with database.transaction() as connection:
            await leases.release(connection, lease, Wait(NOW + SECOND, NOW + 5 * SECOND))
        (stop,) = await claim_stops(database, NOW + 9 * SECOND)
        assert stop.due_at == NOW + 5 * SECOND


async def test_a_requested_stop_is_due_at_once_even_where_the_session_was_due_already(
    database_url: str,
) -> None:
    async with provisioned(database_url) as database:
        await record(database, session := a_session())
        async with database.transaction() as connection:
            await leases.wake(connection, [session.id], NOW)
        assert await claim_stops(database) == []
        async with database.transaction() as connection:
            await leases.wake(connection, [session.id], NOW, for_stop=True)
        assert [lease.session_id for lease in await claim_stops(database)] == [session.id]


async def test_a_crashed_handler_delays_the_stop_too_and_a_later_due_time_replaces_it(
    database_url: str,
) -> None:
    async with provisioned(database_url) as database:
        await record(database, session := a_session())
        async with database.transaction() as connection:
            await leases.wake(connection, [session.id], NOW, for_stop=True)
        (lease,) = await claim_stops(database)
        async with database.transaction() as connection:
            await leases.release_failed(connection, lease, NOW)
        assert await claim_stops(database, NOW + SECOND) == []
        assert len(await claim_stops(database, NOW + 2 * SECOND)) == 1
        async with database.transaction() as connection:
            await leases.reschedule(connection, {session.id: Wait(NOW + 60 * SECOND)}, NOW)
        assert await claim_stops(database, NOW + timedelta(days=1)) == []


async def test_a_look_for_due_work_agrees_with_what_a_claim_finds(database_url: str) -> None:
    async def due(at: datetime) -> bool:
        async with database.read() as connection:
            return await leases.is_anything_due(connection, at)

    async with provisioned(database_url) as database:
        async with database.transaction() as connection:
            await connection.execute(text("UPDATE operator_jobs SET due_at = NULL"))
        assert not await due(NOW)
        await record(database, a_session())
        assert not await due(NOW - SECOND), "not before its time"
        assert await due(NOW)
        (lease,) = await claim(database)
        assert not await due(NOW), "another watcher has it"
        assert await due(NOW + LEASE), "its lease has expired"
        async with database.transaction() as connection:
            await leases.release(connection, lease, Wait(NOW + 60 * SECOND, NOW + 2 * SECOND))
        assert not await due(NOW + SECOND)
        assert await due(NOW + 2 * SECOND), "a stop is due before the session's other work"
        async with database.transaction() as connection:
            await connection.execute(text("UPDATE payment_sessions SET due_at = NULL, stop_due_at = NULL"))
            await connection.execute(text("UPDATE operator_jobs SET due_at = now() WHERE job = 'sync'"))
        assert not await due(NOW - 3650 * 86400 * SECOND)
        assert await due(NOW + 3650 * 86400 * SECOND), "a job is due"
