"""Sessions are recorded once, found by their keys, locked to be changed, and changes are notified."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest
from sqlalchemy import text

from app.domain.session.machine import Change, Source
from app.domain.session.payment_session import PaymentSession, Reads, Status
from app.domain.session.settlement import SettlementStatus
from app.domain.session.states.journal import JournalKind
from app.domain.units.ids import SessionId
from app.store.db.database import DUE_CHANNEL, SESSIONS_CHANNEL, Database
from app.store.sessions import journal, leases, payment_sessions
from app.store.sessions.session_filter import EVERY_SESSION, CardTokens, SessionFilter
from app.store.sessions.settlements import Capture, add_capture, captures_of_session
from tests.conftest import PATIENCE_S
from tests.postgres import as_superuser
from tests.store.rows import (
    NOW,
    OP_OTHER,
    SEALER,
    SECOND,
    TRM_ONE,
    TRM_OTHER,
    a_session,
    change,
    ids_of,
    provisioned,
    record,
    settled,
    with_charge,
)

pytestmark = pytest.mark.anyio


async def read(database: Database, session_id: str) -> PaymentSession:
    async with database.transaction() as connection:
        found = await payment_sessions.get(connection, SessionId(session_id))
    assert found is not None
    return found


async def test_what_was_recorded_comes_back_exactly_and_is_due_at_once(database_url: str) -> None:
    session = a_session("a", fingerprint="card")
    async with provisioned(database_url) as database:
        assert await record(database, session, key="K", contents=b"hash")
        kept = await read(database, "ps_a")
        assert replace(kept, journal=session.journal) == session
        async with database.transaction() as connection:
            found = await payment_sessions.find_recorded(
                connection, TRM_ONE, reference="A-a", idempotency_key=None
            )
            due = await connection.execute(text("SELECT due_at, lease_token FROM payment_sessions"))
            lines = await journal.of_session(connection, session.id)
    assert found is not None
    assert (found.session, found.request_hash, found.idempotency_key) == (kept, b"hash", "K")
    assert due.one() == (NOW, 0)
    assert [(line.kind, line.source, line.at) for line in lines] == [("payment_authorized", "terminal", NOW)]


async def test_of_many_who_record_the_same_at_once_one_does(database_url: str) -> None:  # F1
    async with provisioned(database_url) as one, AsyncExitStack() as stack:
        other = Database(database_url)
        stack.push_async_callback(other.close)
        rivals = [a_session(f"{n}", reference="R") for n in range(40)]
        made = await asyncio.gather(*(record((one, other)[n % 2], s) for n, s in enumerate(rivals)))
        assert sum(made) == 1
        async with one.transaction() as connection:
            assert len(await payment_sessions.find(connection, EVERY_SESSION, limit=50)) == 1
            assert (await connection.execute(text("SELECT count(*) FROM journal"))).scalar() == 1


async def test_the_reference_is_looked_for_before_the_idempotency_key(database_url: str) -> None:
    async with provisioned(database_url) as database:
        await record(database, a_session("a"), key="K1")
        await record(database, a_session("b", charge_point="102"), key="K2")

        async def found(reference: str, key: str | None) -> str | None:
            async with database.transaction() as connection:
                hit = await payment_sessions.find_recorded(
                    connection, TRM_ONE, reference=reference, idempotency_key=key
                )
            return hit.session.id if hit else None

        assert await found("A-a", "K2") == "ps_a"
        assert await found("new", "K2") == "ps_b"
        assert await found("A-b", None) == "ps_b"
        assert await found("new", None) is None
        async with database.transaction() as connection:
            assert (
                await payment_sessions.find_recorded(
                    connection, TRM_OTHER, reference="A-a", idempotency_key="K1"
                )
                is None
            )


async def test_a_visible_change_raises_the_version_and_an_own_note_does_not(database_url: str) -> None:
    session = a_session()
    async with provisioned(database_url) as database:
        await record(database, session)
        at = NOW + 3 * SECOND
        running = await change(database, session, with_charge(session, "77", 1200), at)
        assert (running.version, running.updated_at) == (2, at)
        noted = await change(database, running, replace(running, reads=Reads(failures=3)), at + SECOND)
        assert (noted.version, noted.updated_at) == (2, at)
        kept = await read(database, session.id)
    assert kept == replace(running, reads=Reads(failures=3))
    assert kept.energy_wh == 1200


async def test_a_change_that_changes_nothing_writes_nothing(database_url: str) -> None:
    session = a_session()
    async with provisioned(database_url) as database:
        await record(database, session)
        async with database.transaction() as connection:
            before = (await connection.execute(text("SELECT xmin::text FROM payment_sessions"))).scalar()
        kept = await change(database, session, session, NOW + SECOND)
        assert replace(kept, journal=session.journal) == session
        async with database.transaction() as connection:
            after = (await connection.execute(text("SELECT xmin::text FROM payment_sessions"))).scalar()
    assert before == after


async def test_a_locked_session_waits_for_the_end_of_the_other_change(database_url: str) -> None:
    session = a_session()
    order: list[str] = []
    async with provisioned(database_url) as database:
        await record(database, session)
        locked = asyncio.Event()

        async def first() -> None:
            async with database.transaction() as connection:
                before = await payment_sessions.lock(connection, session.id)
                assert before is not None
                locked.set()
                await asyncio.sleep(0.05)
                order.append("first")
                await payment_sessions.save(
                    connection, before, Change(with_charge(before, "77")), NOW, SEALER
                )

        async def second() -> None:
            await locked.wait()
            async with database.transaction() as connection:
                before = await payment_sessions.lock(connection, session.id)
                assert before is not None
                order.append("second")
                assert before.status is Status.CHARGING

        await asyncio.gather(first(), second())
    assert order == ["first", "second"]


async def test_who_waited_for_a_lock_sees_the_settlement_that_was_decided_meanwhile(
    database_url: str,
) -> None:  # F76
    session = a_session()
    async with provisioned(database_url) as database:
        await record(database, session)
        ready = asyncio.Event()

        async def settle() -> None:
            async with database.transaction() as connection:
                before = await payment_sessions.lock(connection, session.id)
                assert before is not None
                ready.set()
                await asyncio.sleep(0.05)
                await payment_sessions.save(connection, before, Change(settled(before, 1500)), NOW, SEALER)

        async def look() -> PaymentSession | None:
            await ready.wait()
            async with database.transaction() as connection:
                return await payment_sessions.lock(connection, session.id)

        _, seen = await asyncio.gather(settle(), look())
    assert seen is not None
    assert seen.settlement is not None
    assert seen.settlement.to_capture_minor == 1500


async def test_a_claim_locks_its_session_until_it_is_released_or_another_is_made(database_url: str) -> None:
    session = a_session()
    async with provisioned(database_url) as database:
        await record(database, session)
        async with database.transaction() as connection:
            until = NOW + timedelta(seconds=30)
            (lease,) = await leases.claim(connection, owner="w", now=NOW, until=until, limit=1)
            locked = await payment_sessions.lock(connection, session.id, lease_token=lease.token)
            assert locked is not None
            assert replace(locked, journal=session.journal) == session
            for token in (lease.token - 1, lease.token + 1):
                assert await payment_sessions.lock(connection, session.id, lease_token=token) is None
            await leases.release_unchanged(connection, lease, NOW)
            assert await payment_sessions.lock(connection, session.id, lease_token=lease.token) is None
            assert await payment_sessions.lock(connection, SessionId("ps_nobody")) is None


async def test_a_settlement_stays_as_it_was_decided_but_for_what_the_psp_reports(database_url: str) -> None:
    session = a_session()
    async with provisioned(database_url) as database:
        await record(database, session)
        ended = await change(database, session, settled(session, 1500))
        assert ended.settlement is not None
        meddled = replace(
            ended.settlement, to_capture_minor=1, to_release_minor=1999, status=SettlementStatus.CONFIRMED
        )
        await change(database, ended, replace(ended, settlement=meddled), NOW + SECOND)
        kept = await read(database, session.id)
    assert kept.settlement == replace(ended.settlement, status=SettlementStatus.CONFIRMED)


async def test_reports_of_the_psp_are_kept_once_and_in_order(database_url: str) -> None:
    session = a_session()
    first = Capture(outcome="captured", amount_minor=1500, reference="r1", reported_at=NOW)
    second = Capture(outcome="released", amount_minor=500, reference="r1", reported_at=NOW + SECOND)
    async with provisioned(database_url) as database:
        await record(database, session)
        async with database.transaction() as connection:
            assert await add_capture(connection, session, first) is None
            assert await add_capture(connection, session, second) is None
            assert await add_capture(connection, session, replace(first, amount_minor=7)) == first
            assert await captures_of_session(connection, session.id) == [first, second]


async def test_sessions_are_found_by_what_people_search_for(database_url: str) -> None:
    sessions = [
        a_session("a", at=NOW, fingerprint="card one"),
        a_session("b", charge_point="102", at=NOW + SECOND),
        a_session("c", charge_point="103", at=NOW + SECOND),
        a_session("d", terminal=TRM_OTHER, operator_id=OP_OTHER, at=NOW + 2 * SECOND),
    ]
    async with provisioned(database_url) as database:
        for session in sessions:
            await record(database, session)
        await change(database, sessions[1], with_charge(sessions[1], "77"))
        await change(database, sessions[2], settled(sessions[2], 0))
        async with database.transaction() as connection:

            async def found(wanted: SessionFilter) -> list[str]:
                return ids_of(await payment_sessions.find(connection, wanted, limit=10))

            card = CardTokens(fingerprint="card one", account_reference="an account of no session")
            theirs = SessionFilter(operator_id=OP_OTHER)
            assert await found(EVERY_SESSION) == ["ps_d", "ps_c", "ps_b", "ps_a"]
            assert await found(SessionFilter(terminal_id=TRM_ONE)) == ["ps_c", "ps_b", "ps_a"]
            assert await found(theirs) == ["ps_d"]
            assert await found(SessionFilter(active=True)) == ["ps_d", "ps_b", "ps_a"]
            assert await found(SessionFilter(occupying=True, charge_point_id="103")) == []
            assert await found(SessionFilter(occupying=True, charge_point_id="102")) == ["ps_b"]
            assert await found(SessionFilter(charge_id="77")) == ["ps_b"]
            assert await found(SessionFilter(charge_ids=["77", "78"])) == ["ps_b"]
            assert await found(SessionFilter(charge_ids=[])) == []
            assert await found(SessionFilter(card=card)) == ["ps_a"]
            assert await found(SessionFilter(card=CardTokens())) == []
            assert await found(SessionFilter(status=Status.COMPLETED)) == ["ps_c"]
            assert await found(SessionFilter(needs_attention=True)) == []
            assert await found(SessionFilter(settlement_status=SettlementStatus.DUE)) == ["ps_c"]
            between = SessionFilter(created_from=NOW + SECOND, created_before=NOW + 2 * SECOND)
            assert await found(between) == ["ps_c", "ps_b"]
            assert await found(SessionFilter(created_before=NOW + SECOND)) == ["ps_a"]
            assert await found(replace(theirs, terminal_id=TRM_ONE)) == []
            assert await payment_sessions.get(connection, sessions[0].id, theirs) is None


def test_a_holds_reference_is_asked_for_with_its_terminal_only() -> None:
    assert SessionFilter(terminal_id=TRM_ONE, hold_reference="A-1").hold_reference == "A-1"
    with pytest.raises(ValueError, match="terminal"):
        SessionFilter(hold_reference="A-1")
    with pytest.raises(ValueError, match="terminal"):
        SessionFilter(open_for_terminal=True)


async def test_pages_neither_miss_nor_repeat_sessions_of_the_same_moment(database_url: str) -> None:
    async with provisioned(database_url) as database:
        for n in range(4):
            await record(database, a_session(f"{n}", charge_point=f"10{n + 1}", at=NOW))
        seen: list[str] = []
        last = None
        async with database.transaction() as connection:
            while page := await payment_sessions.find(connection, EVERY_SESSION, limit=1, before=last):
                seen += ids_of(page)
                last = (page[0].created_at, page[0].id)
    assert seen == ["ps_3", "ps_2", "ps_1", "ps_0"]


async def test_waking_makes_a_session_due_but_never_later(database_url: str) -> None:
    session = a_session()
    async with provisioned(database_url) as database:
        await record(database, session)
        for at in (NOW + SECOND, NOW - SECOND):
            async with database.transaction() as connection:
                await payment_sessions.wake(connection, session.id, at)
                due = (await connection.execute(text("SELECT due_at FROM payment_sessions"))).scalar()
            assert due == min(at, NOW)


async def fail_after_a_change(database: Database, session: PaymentSession) -> None:
    async with database.transaction() as connection:
        await payment_sessions.save(connection, session, Change(with_charge(session, "5")), NOW, SEALER)
        raise ZeroDivisionError


async def test_listeners_hear_of_changes_and_of_what_is_due_once_they_are_committed(
    database_url: str,
) -> None:
    received: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    def hear(_connection: object, _pid: int, channel: str, payload: str) -> None:
        received.put_nowait((channel, payload))

    session = a_session()
    async with provisioned(database_url) as database:
        ear = await asyncpg.connect(as_superuser(database_url))
        try:
            for channel in (DUE_CHANNEL, SESSIONS_CHANNEL):
                await ear.add_listener(channel, hear)
            await record(database, session)
            assert await asyncio.wait_for(received.get(), PATIENCE_S) == (DUE_CHANNEL, "")
            with pytest.raises(ZeroDivisionError):
                await fail_after_a_change(database, session)
            await change(database, session, with_charge(session, "77"))
            assert await asyncio.wait_for(received.get(), PATIENCE_S) == (SESSIONS_CHANNEL, session.id)
            assert received.empty()
        finally:
            await ear.close()


async def test_the_journal_is_read_in_parts_oldest_first(database_url: str) -> None:
    session = a_session()
    async with provisioned(database_url) as database:
        await record(database, session)
        async with database.transaction() as connection:
            edit = Change(session)
            for n in range(5):
                edit = edit.note(JournalKind.SEARCHED, Source.WATCHER, n=n)
            await payment_sessions.save(connection, session, edit, NOW + timedelta(seconds=1), SEALER)
            first = await journal.of_session(connection, session.id, limit=3)
            rest = await journal.of_session(connection, session.id, after=first[-1].id, limit=10)
    assert [line.detail.get("n") for line in [*first, *rest]] == [None, 0, 1, 2, 3, 4]
