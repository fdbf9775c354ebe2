"""Tests of app/api/http/live: many long polls cost one statement a sweep, are bounded, and are refused first."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import asyncpg
import pytest

from app.api.http import live
from app.api.http.live import SWEPT_AT_ONCE, SessionChanges, TooManyPolls
from app.domain.session.payment_session import PaymentSession
from app.domain.units.ids import SessionId
from app.flows import deliveries
from app.store.db import pool
from app.store.db.scope import limited_to
from tests.api.service import Service, assert_problem, charge_entry, delivery, open_service, payment
from tests.conftest import PATIENCE_S
from tests.domain.sessions import new_session

pytestmark = pytest.mark.anyio

PATH = "/v1/payment-sessions"
SOON_S = PATIENCE_S / 2
"""Before the time of a call that waits is over."""


class Sessions:
    """Sessions in memory, what was read of them, and calls that wait for their changes."""

    def __init__(self) -> None:
        self.news = SessionChanges()
        self.changed: Counter[str] = Counter()
        self.reads = 0
        self.sweeps: list[int] = []
        self.away = False

    async def look(self, session_id: str) -> PaymentSession:
        self.reads += 1
        return replace(new_session(), id=SessionId(session_id), version=1 + self.changed[session_id])

    async def versions(self, ids: Sequence[str]) -> Mapping[str, int]:
        self.sweeps.append(len(ids))
        if self.away:
            raise asyncpg.CannotConnectNowError
        return {session_id: 1 + self.changed[session_id] for session_id in ids}

    async def follow(self, session_id: str, seconds: float = 20) -> int:
        session = await self.news.wait_for(
            session_id,
            seconds,
            lambda: self.look(session_id),
            lambda s: s.version > 1,
            self.versions,
            by=session_id,
        )
        return session.version

    @asynccontextmanager
    async def waiting(self, *ids: str) -> AsyncIterator[list["asyncio.Task[int]"]]:
        calls = [asyncio.create_task(self.follow(session_id)) for session_id in ids]
        await until(lambda: self.reads >= len(ids))
        yield calls
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def until(reached: Callable[[], bool]) -> None:
    for _ in range(20_000):
        if reached():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("not reached")


async def swept(sessions: Sessions, times: int) -> None:
    began = len(sessions.sweeps)
    await until(lambda: len(sessions.sweeps) >= began + times)


async def test_5000_waiting_calls_cost_no_read_each_and_a_lost_notification_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "SWEEP_S", 0.05)
    sessions = Sessions()
    async with sessions.waiting(*(f"ps_{n}" for n in range(5000))) as calls:
        await swept(sessions, 15)
        assert set(sessions.sweeps) == {SWEPT_AT_ONCE}
        assert sessions.reads == 5000, "once each when they came"
        sessions.changed["ps_77"] += 1
        assert await calls[77] == 2
        assert sessions.reads == 5001
        assert not any(call.done() for call in calls if call is not calls[77])


async def test_a_notification_wakes_the_waiters_of_its_session_only() -> None:
    sessions = Sessions()
    async with sessions.waiting("ps_1", "ps_1", "ps_2") as calls:
        sessions.changed["ps_1"] += 1
        sessions.news.notify("ps_1")
        assert await asyncio.gather(*calls[:2]) == [2, 2]
        assert (sessions.reads, sessions.sweeps) == (5, [])
        assert not calls[2].done()


async def test_a_change_that_comes_while_its_session_is_read_is_not_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "SWEEP_S", 60.0)
    sessions = Sessions()
    read = sessions.look

    async def changed_meanwhile(session_id: str) -> PaymentSession:
        session = await read(session_id)
        if sessions.reads == 1:
            sessions.changed[session_id] += 1
            sessions.news.notify(session_id)
        return session

    monkeypatch.setattr(sessions, "look", changed_meanwhile)
    assert await asyncio.wait_for(sessions.follow("ps_1"), SOON_S) == 2
    assert (sessions.reads, sessions.sweeps) == (2, [])


async def test_the_end_of_the_process_answers_every_waiting_call() -> None:
    sessions = Sessions()
    async with sessions.waiting("ps_1", "ps_2") as calls:
        sessions.news.close()
        assert await asyncio.wait_for(asyncio.gather(*calls), SOON_S) == [1, 1]


async def test_a_listener_that_was_away_leads_to_one_sweep_at_once_and_a_failed_one_is_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sessions = Sessions()
    async with sessions.waiting("ps_1", "ps_2") as calls:
        await asyncio.sleep(0)
        sessions.changed["ps_1"] += 1
        sessions.away = True
        sessions.news.notify("")
        await swept(sessions, 1)
        sessions.away = False
        sessions.news.notify("")
        assert await calls[0] == 2
        assert (sessions.reads, sessions.sweeps) == (3, [2, 2])


async def test_nothing_is_swept_when_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SWEEP_S", 0.01)
    sessions = Sessions()
    async with sessions.waiting("ps_1"):
        await swept(sessions, 2)
    await asyncio.sleep(0)
    begun = len(sessions.sweeps)
    await asyncio.sleep(0.1)
    assert len(sessions.sweeps) == begun


async def test_the_number_of_waiting_calls_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_WAITING", 3)
    sessions = Sessions()
    async with sessions.waiting("ps_1", "ps_1", "ps_2"):
        assert not sessions.news.has_room
        with pytest.raises(TooManyPolls):
            await sessions.follow("ps_3")
    assert sessions.news.has_room


async def refused_to_wait(service: Service, session_id: str) -> None:
    """What a service answers that lets no call wait: the present state, a payment without waiting, no long poll."""
    poll = await service.call("GET", f"{PATH}/{session_id}?wait=30&version=1")
    assert_problem(poll, 503, "unavailable")
    assert 1 <= int(poll.headers["retry-after"]) <= 5
    assert_problem(await service.call("GET", f"{PATH}/{session_id}?wait=9.5&version=1"), 503, "unavailable")


async def test_more_long_polls_than_may_wait_are_asked_to_come_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
        monkeypatch.setattr(live, "MOST_WAITING", 0)
        await refused_to_wait(service, session["id"])
        assert (await service.call("GET", f"{PATH}/{session['id']}")).json() == session
        answer = await service.call("POST", PATH, payment("102", "A-2"), headers={"Prefer": "wait=20"})
        assert answer.status_code == 201
        assert "preference-applied" not in answer.headers


async def test_a_terminal_with_all_its_long_polls_is_told_when_to_come_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_OF_ONE_CALLER", 0)
    async with open_service(database_url) as service:
        session = await service.authorize()
        refused = await service.call("GET", f"/v1/payment-sessions/{session['id']}?wait=5&version=99")
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) > 0


async def test_long_polls_are_refused_while_many_calls_wait_for_a_connection(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "CROWDED", 3)
    async with open_service(database_url, pool_size=1) as service:
        session = await service.authorize()
        database = service.context.database
        async with AsyncExitStack() as stack:
            for _ in range(2):
                await stack.enter_async_context(database.transaction())
            assert not database.is_crowded
            # Reads of single sessions would share one connection.
            waiting = [asyncio.create_task(service.call("GET", f"{PATH}?reference=A-1")) for _ in range(3)]
            with limited_to(service.one.operator.operator_id):  # as the call that would have to wait
                await until(lambda: database.is_crowded)
            await refused_to_wait(service, session["id"])
        assert [(await call).status_code for call in waiting] == [200, 200, 200]
        assert database.connections_in_use == 0


async def test_long_polls_are_refused_while_deliveries_take_long(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "LATE_S", -1.0)
    async with open_service(database_url) as service:
        session = await service.authorize()
        assert (await service.webhook(delivery(charge_entry(77)))).status_code == 200
        await refused_to_wait(service, session["id"])
        now_s = service.context.clock.monotonic()
        assert service.context.deliveries.are_late(now_s)
        assert not service.context.deliveries.are_late(now_s + deliveries.LATE_FOR_S)


async def test_a_notification_wakes_all_whom_it_names_and_one_without_names_looks_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "SWEEP_S", 60.0)
    sessions = Sessions()
    async with sessions.waiting("a", "b", "c") as calls, asyncio.timeout(SOON_S):
        sessions.changed.update(["a", "b"])
        sessions.news.notify("a,b")
        assert await asyncio.gather(*calls[:2]) == [2, 2]
        sessions.changed.update(["c"])
        sessions.news.notify("")
        assert await calls[2] == 2
