"""app/watcher: A watcher's slots, its leases while a call hangs, and its heartbeat."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from app.domain.session.payment_session import StopReason
from app.domain.units.ids import OperatorId, SessionId
from app.flows.admin import provision
from app.flows.admin.provision import NewOperator
from app.flows.session import claim
from app.flows.session.advance import yield_session
from app.flows.session.claim import Capacity
from app.flows.terminal.request_stop import request_stop
from app.monta.transport import Timeouts
from app.simulator.faults.catalog import FaultKind
from app.store.db.database import Database
from app.store.operators import jobs
from app.store.operators.jobs import Job
from app.store.sessions import payment_sessions
from app.store.sessions.leases import Lease
from app.store.sessions.session_filter import SessionFilter
from app.watcher import Watcher
from tests.build_context import build_context
from tests.conftest import PATIENCE_S
from tests.journeys.checks import starts
from tests.journeys.rig import MONTA_URL, Rig, open_rig

pytestmark = pytest.mark.anyio


async def work_until(rig: Rig, query: str, expected: int) -> None:
    """Works until the query's value is `expected`, and four times more: it stays so. One claim holds several tasks,
    and the rig counts it as waiting when the first of them waits for time to pass."""
    for _ in range(100):
        if await value(rig, query) == expected:
            break
        await rig.work()
    for _ in range(4):
        await rig.work()
    assert await value(rig, query) == expected, query


HELD = "SELECT count(*) FROM operator_jobs WHERE lease_until IS NOT NULL"
OVERDUE = "SELECT count(*) FROM operator_jobs WHERE due_at <= :now"


async def value(rig: Rig, query: str) -> object:
    async with rig.context.database.transaction() as connection:
        return (await connection.execute(text(query), {"now": rig.clock.now()})).scalar_one()


async def test_jobs_that_hang_take_a_quarter_of_the_slots_and_the_others_stay_due(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        rig.watchers = [Watcher(rig.context, name="small", concurrency=8)]
        now = rig.clock.now()
        rig.monta.faults.between(now, now + timedelta(minutes=1), FaultKind.SLOW, seconds=15)
        for n in range(6):
            await provision.add_operator(
                rig.context,
                NewOperator(
                    name=f"Stadtwerk {n}",
                    monta_url=MONTA_URL,
                    client_id=f"client {n}",
                    client_secret="secret",
                    paying_team_id="1",
                ),
            )
        await work_until(rig, HELD, 2)
        assert await value(rig, OVERDUE) == 4
        await rig.pass_time(300)
        assert (await value(rig, HELD), await value(rig, OVERDUE)) == (0, 0)


TOKEN = "SELECT lease_token FROM payment_sessions"


@pytest.mark.parametrize("kept", [True, False])
async def test_only_a_lease_that_is_kept_outlasts_a_call_of_forty_seconds(
    database_url: str, kept: bool
) -> None:
    async with open_rig(database_url, timeouts=Timeouts(start_s=50)) as rig:
        first, second = rig.watchers[0], Watcher(rig.context, name="watcher-2")
        keeper = rig.beside(first.keep_leases()) if kept else None
        rig.monta.faults.next("POST", "/charges", FaultKind.SLOW, seconds=40)
        session = await rig.authorize(106, 5000)
        await rig.work()
        mine = await value(rig, TOKEN)
        assert await value(rig, "SELECT lease_owner FROM payment_sessions") == first.name
        rig.watchers = [second]
        await rig.pass_time(39)
        assert (await value(rig, TOKEN) == mine) is kept
        await rig.until(session["id"], "charging", within_s=120)
        await rig.pass_time(5)
        assert len(starts(rig)) == 1
        if keeper is not None:
            keeper.cancel()


async def test_a_database_that_went_back_behind_a_heartbeat_has_everything_compared(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        watcher, searches = rig.watchers[0], rig.calls("GET", "/charges")
        for beat in range(3):
            await rig.pass_time(5)
            if beat == 2:
                async with rig.context.database.transaction() as connection:
                    await connection.execute(text("UPDATE watchers SET seen_at = seen_at - interval '5 s'"))
            assert rig.calls("GET", "/charges") == searches
            await watcher.beat_once()
        due = "SELECT count(*) FROM operator_jobs WHERE job = 'reconcile' AND due_at <= :now"
        assert await value(rig, due) == 1
        await rig.work()
        assert rig.calls("GET", "/charges") == searches + 1


LEASED = "SELECT count(*) FROM payment_sessions WHERE lease_until > :now"


async def test_a_due_stop_finds_a_slot_while_all_other_sessions_hang(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        rig.watchers = [Watcher(rig.context, name="small", concurrency=8)]
        now = rig.clock.now()
        rig.monta.faults.between(now, now + timedelta(minutes=1), FaultKind.SLOW, path="/charges", seconds=15)
        for point in (101, 102, 103, 104, 105, 106):
            await rig.authorize(point, 1000)
        await work_until(rig, LEASED, 4)  # two slots of eight are kept for stops, two for other operators
        waiting = SessionId(
            str(await value(rig, "SELECT max(id) FROM payment_sessions WHERE lease_until IS NULL"))
        )
        async with rig.context.database.transaction() as connection:
            await payment_sessions.wake(connection, waiting, now, for_stop=True)
        await work_until(rig, LEASED, 5)
        assert await value(rig, f"SELECT lease_token FROM payment_sessions WHERE id = '{waiting}'") == 1
        await rig.pass_time(120)
        assert await value(rig, LEASED) == 0


async def test_other_work_of_many_operators_leaves_a_quarter_of_the_slots_to_stops(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        watcher = Watcher(rig.context, name="small", concurrency=8)
        others = [Lease(SessionId(f"ps_{n}"), 1, OperatorId(f"op_{n}")) for n in range(6)]
        stops = [Lease(SessionId(f"ps_{n}"), 1, OperatorId(f"op_{n}"), for_stop=True) for n in range(6, 8)]
        for held, left in ((others[:5], 1), (others, 0), ([*others[:5], *stops], 1), (stops, 6)):
            watcher._held = set(held)
            assert watcher._capacity().others == left
        watcher._running = {asyncio.create_task(asyncio.sleep(0)) for _ in range(7)}
        assert watcher._capacity() == Capacity(stops=1, others=1, jobs=1), "no more than slots are free"


async def test_what_was_claimed_has_its_slot_before_its_task_has_begun(database_url: str) -> None:
    """A watcher claims again at once while more may be due: the next claim would take what is kept for stops."""
    async with open_rig(database_url) as rig:
        await rig.authorize(106)
        async with rig.context.database.transaction() as connection:
            await jobs.make_due(connection, rig.operator.operator_id, Job.SYNC, rig.clock.now())
        watcher = Watcher(rig.context, name="small", concurrency=8)
        await watcher._claim_and_spawn()
        left = watcher._capacity()
        await asyncio.wait(watcher._running, timeout=PATIENCE_S)
        assert left == Capacity(stops=6, others=4, jobs=1)


async def test_a_watcher_that_lost_its_claim_leaves_the_session_to_the_other_one(database_url: str) -> None:
    row = "SELECT lease_token::text || failures::text || due_at::text FROM payment_sessions"
    async with open_rig(database_url) as rig:
        await rig.authorize(106)
        watcher = rig.watchers[0]
        (lease,), _ = await watcher._claim()
        before = await value(rig, row)
        with capture_logs() as logs:
            await watcher._run_session(replace(lease, token=lease.token - 1))
        assert [line["event"] for line in logs] == ["lease_lost"]
        assert await value(rig, row) == before
        assert not starts(rig)


async def test_a_watcher_waits_until_the_next_due_time_and_while_it_has_no_slot_until_one_is_free(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    due_in_s: list[float | None] = []

    async def noted(given_s: float | None = None) -> None:
        due_in_s.append(given_s)

    async with open_rig(database_url) as rig:
        watcher = Watcher(rig.context, name="small", concurrency=1)
        monkeypatch.setattr(watcher, "_pause", noted)
        async with rig.context.database.transaction() as connection:
            later = {"at": rig.clock.now() + timedelta(seconds=3)}
            await connection.execute(text("UPDATE operator_jobs SET due_at = :at"), later)
        await watcher._claim_and_spawn()
        assert due_in_s == [3]
        done = asyncio.Event()
        watcher._spawn(done.wait())  # type: ignore[arg-type]
        waiting = asyncio.ensure_future(watcher._claim_and_spawn())
        await asyncio.sleep(0)
        assert not waiting.done()
        done.set()
        await asyncio.wait_for(waiting, PATIENCE_S)


async def test_a_job_in_work_keeps_its_lease(database_url: str) -> None:
    until = "SELECT max(lease_until) FROM operator_jobs"
    async with open_rig(database_url) as rig:
        watcher, now = rig.watchers[0], rig.clock.now()
        async with rig.context.database.transaction() as connection:
            await jobs.make_due(connection, rig.operator.operator_id, Job.SYNC, now)
            lease = await jobs.claim(connection, now=now, until=now + timedelta(seconds=20))
        assert lease is not None
        watcher._held_jobs = {lease}
        keeping = asyncio.create_task(watcher.keep_leases())
        await asyncio.sleep(0)
        await rig.clock.advance(15)
        async with asyncio.timeout(PATIENCE_S):
            while await value(rig, until) == now + timedelta(seconds=20):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        keeping.cancel()


async def test_stops_in_work_are_no_reason_to_put_off_their_operators_other_work(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        watcher = Watcher(rig.context, name="small", concurrency=8)
        operator = rig.operator.operator_id
        watcher._held = {Lease(SessionId(f"ps_{n}"), 1, operator, for_stop=True) for n in range(5)}
        session = await rig.authorize(106)
        claimed, _ = await watcher._claim()
        assert [lease.session_id for lease in claimed] == [session["id"]]


@asynccontextmanager
async def full_watcher(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watcher]:
    """A watcher all of whose slots for other work than stops are taken; it does not poll."""
    monkeypatch.setattr("app.watcher.IDLE_S", 3600)
    watcher = Watcher(rig.context, name="full", concurrency=4)
    watcher._held = {Lease(SessionId(f"ps_{n}"), 1, OperatorId(f"op_{n}")) for n in range(3)}
    yield watcher
    if watcher._running:
        await asyncio.wait(watcher._running)


async def test_a_watcher_whose_other_slots_are_full_claims_a_due_stop(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_rig(database_url) as rig, full_watcher(rig, monkeypatch) as watcher:
        session = await rig.authorize(106)
        async with rig.context.database.transaction() as connection:
            await payment_sessions.wake(connection, SessionId(session["id"]), rig.clock.now(), for_stop=True)
        await asyncio.wait_for(watcher._claim_and_spawn(), PATIENCE_S)
        assert await value(rig, TOKEN) == 1, "claimed once, even if it has been released since"


async def test_other_work_goes_on_as_soon_as_one_of_its_slots_is_free_and_is_not_looked_for_before(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_rig(database_url) as rig, full_watcher(rig, monkeypatch) as watcher:
        await rig.authorize(106)
        done, paused = asyncio.Event(), asyncio.Event()
        pause = watcher._pause
        due_in_s: list[float | None] = []

        async def other_session() -> None:
            await done.wait()
            watcher._held.pop()

        async def noted_pause(given_s: float | None = None) -> None:
            due_in_s[:] = [given_s]
            paused.set()
            await pause(given_s)

        monkeypatch.setattr(watcher, "_pause", noted_pause)
        watcher._spawn(other_session())
        waiting = asyncio.ensure_future(watcher._claim_and_spawn())
        await asyncio.wait_for(paused.wait(), PATIENCE_S)
        assert due_in_s == [None], "what is due and cannot be claimed is not waited for"
        done.set()
        await asyncio.wait_for(waiting, PATIENCE_S)
        await watcher._claim_and_spawn()
        assert await value(rig, TOKEN) == 1, "claimed once, even if it has been released since"


async def test_an_operators_next_session_is_looked_for_as_soon_as_one_of_all_its_slots_is_free(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        for point in (105, 106):
            await rig.authorize(point)
        watcher = Watcher(rig.context, name="small", concurrency=4)
        (first, second), _ = await watcher._claim()
        for lease, others, looks in ((first, [second], True), (second, [], False)):
            watcher._held = set(others)  # two of four slots are an operator's at most
            watcher._wake.clear()
            await watcher._run_session(lease)
            assert watcher._wake.is_set() is looks


async def test_work_that_fell_due_long_ago_is_claimed_beside_stops(database_url: str) -> None:
    """Stops come first, and still leave to others what they do not need."""
    async with open_rig(database_url) as rig:
        first, second = [await rig.authorize(point) for point in (105, 106)]
        async with rig.context.database.transaction() as connection:
            await payment_sessions.wake(connection, SessionId(first["id"]), rig.clock.now(), for_stop=True)
        claimed, _ = await rig.watchers[0]._claim()
        assert [(lease.session_id, lease.for_stop) for lease in claimed] == [
            (first["id"], True),
            (second["id"], False),
        ]


async def test_a_stop_is_sent_while_all_usual_connections_to_the_database_are_in_use(
    database_url: str,
) -> None:
    """From the look for due work to the commit of what came of it: nothing on the way waits for other work."""
    async with open_rig(database_url) as rig:
        session = await rig.authorize(106, 5000)
        await rig.until(session["id"], "charging")
        database = Database(rig.database_url, pool_size=1, urgent_size=1)
        context = build_context(database, rig.clock, rig.context.monta._http)
        try:
            async with asyncio.timeout(PATIENCE_S), database.transaction(), database.transaction():
                named = SessionId(session["id"])
                await request_stop(context, named, SessionFilter(), reason=StopReason.OPERATIONS)
                sent = rig.stops()
                watcher = Watcher(context, name="crowded")
                assert await claim.is_anything_due(context)
                (lease,), _ = await watcher._claim()
                assert lease.for_stop
                await claim.renew_leases(context, [lease], [])
                await watcher._run_session(lease)
                await yield_session(context, lease)
                assert rig.stops() == sent + 1
        finally:
            await database.close()
        assert (await rig.session(session["id"]))["status"] == "stopping"


async def test_one_operator_leaves_a_quarter_of_the_usual_slots_to_the_others(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        for point in (101, 102, 103, 104, 105, 106):
            await rig.authorize(point)
        claimed, _ = await Watcher(rig.context, name="small", concurrency=8)._claim()
        assert len(claimed) == 4, "six of eight slots are not kept for stops"
