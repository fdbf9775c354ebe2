"""One caller cannot slow the others down: calls a minute, failed keys, long polls, unfinished bodies, big webhooks."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

import httpx
import pytest

from app.api.http.live import MOST_OF_ONE_CALLER, SessionChanges, TooManyWaits
from app.api.http.problems import Problem
from app.api.http.rate_limits import APART_S, MOST_HELD_BACK, Buckets, Quotas, RateLimits
from app.api.http.requests import UNFINISHED, UnfinishedBodies
from app.domain.session.payment_session import PaymentSession
from app.domain.units.ids import SessionId
from app.flows.admin import queries
from app.monta.webhook import MAX_BYTES
from app.store.db.scope import limited_to
from app.store.sessions.session_filter import SessionFilter
from tests.api.service import Service, open_service, payment, sign
from tests.shared_objects import ENDLESS

pytestmark = pytest.mark.anyio

SESSIONS = "/v1/payment-sessions"


def test_a_quarter_of_a_minutes_calls_may_come_at_once_and_then_so_many_a_second() -> None:
    buckets = Buckets(per_minute=240)
    assert [buckets.take("one", 0.0) for _ in range(60)] == [0.0] * 60
    assert buckets.take("one", 0.0) == pytest.approx(0.25)
    assert buckets.take("other", 0.0) == 0.0
    assert buckets.take("one", 0.2) > 0
    assert buckets.take("one", 0.25) == 0.0
    assert buckets.take("one", 0.25) > 0, "refused calls take nothing, granted ones do"
    assert [buckets.take("one", 1e6) for _ in range(61)].count(0.0) == 60, "never more than that"


def test_buckets_are_bounded_and_a_clock_that_goes_back_gives_nothing() -> None:
    buckets = Buckets(per_minute=1, most=100)
    for number in range(10_000):
        buckets.take(str(number), 0.0)
    assert len(buckets) == 100
    assert buckets.take("9999", -1e9) > 0


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Service]:
    async with open_service(database_url) as service:
        yield service


def limited(service: Service, **most: int) -> None:
    service.apps[0].state.limits = RateLimits(replace(ENDLESS, **most), hold_back_s=0)


async def test_a_terminal_beyond_its_calls_gets_429_and_neither_its_stops_nor_others_do(
    service: Service,
) -> None:
    session = await service.authorize("101", "A-1")
    limited(service, calls=12)
    path = f"{SESSIONS}/{session['id']}"
    answers = [await service.call("GET", path) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    refused = answers[-1]
    assert refused.json()["code"] == "too_many_requests"
    assert "TAPWATT_CALLS_PER_MINUTE" in refused.json()["detail"]
    assert refused.json()["retryable"]
    assert int(refused.headers["Retry-After"]) == 5
    assert (await service.call("POST", f"{path}/stop")).status_code == 202
    assert (
        await service.call("GET", "/v1/charge-points", key=service.other.terminal.api_key)
    ).status_code == 200


async def test_new_holds_and_an_operators_calls_have_limits_of_their_own(service: Service) -> None:
    limited(service, new_holds=8)
    made = [await service.call("POST", SESSIONS, payment(f"10{n}", f"A-{n}")) for n in (1, 2, 3)]
    assert [answer.status_code for answer in made] == [201, 201, 429]
    assert "TAPWATT_NEW_HOLDS_PER_MINUTE" in made[-1].json()["detail"]
    assert await service.count() == 2
    assert (await service.call("GET", "/v1/charge-points")).status_code == 200
    limited(service, operator_calls=8)
    second = await service.add_terminal(service.one.operator.operator_id)
    keys = [service.one.terminal.api_key, second.api_key, service.one.terminal.api_key]
    found = [await service.call("GET", "/v1/charge-points", key=key) for key in keys]
    assert [answer.status_code for answer in found] == [200, 200, 429]
    assert "TAPWATT_OPERATOR_CALLS_PER_MINUTE" in found[-1].json()["detail"]
    others = service.other.terminal.api_key
    assert (await service.call("GET", "/v1/charge-points", key=others)).status_code == 200


async def test_failed_keys_are_slowed_down_and_a_valid_key_of_the_same_address_is_not(
    service: Service,
) -> None:
    limited(service, failed_keys=8)
    tried = [await service.call("GET", "/v1/charge-points", key=f"trm_wrong{n}") for n in range(4)]
    assert [answer.status_code for answer in tried] == [401, 401, 429, 429]
    assert (await service.call("GET", "/v1/charge-points")).status_code == 200


async def test_stops_leave_an_operators_calls_to_others() -> None:
    limits = RateLimits(replace(ENDLESS, operator_calls=4), hold_back_s=0)
    for _ in range(20):
        await limits.call("lane 1", "op", 0.0, stops=True, holds=False)
    await limits.call("lane 2", "op", 0.0, stops=False, holds=False)
    with pytest.raises(Problem):
        await limits.call("lane 2", "op", 0.0, stops=False, holds=False)


async def test_a_refusal_is_held_back_so_that_a_flood_is_slow_and_only_so_many_wait() -> None:
    loop, limits = asyncio.get_running_loop(), RateLimits(Quotas(failed_keys=1), hold_back_s=0.05)
    assert await limits.failure("10.0.0.1", 0.0) == 0.0
    began_s = loop.time()
    calls = [asyncio.create_task(limits.failure("10.0.0.1", 0.0)) for _ in range(2 * MOST_HELD_BACK)]
    await asyncio.sleep(0)  # each begins
    held = [call for call in calls if not call.done()]
    assert held == calls[:MOST_HELD_BACK]
    assert all(call.result() > 0 for call in calls[MOST_HELD_BACK:])
    assert await held[0] > 0
    assert loop.time() - began_s >= 0.05
    for call in held:
        call.cancel()
    await asyncio.gather(*held, return_exceptions=True)


async def test_long_polls_of_one_terminal_are_bounded_and_others_wait_on(service: Service) -> None:
    """The sweep sees every operator's sessions, whoever waited first."""
    news, session = SessionChanges(), await service.authorize("101", "A-1")
    others = await service.call("POST", SESSIONS, payment(), key=service.other.terminal.api_key)
    versions = partial(queries.session_versions, service.context)

    def wait(session_id: str, by: str) -> "asyncio.Task[PaymentSession]":
        async def look() -> PaymentSession:
            found = await queries.session(service.context, SessionId(session_id), SessionFilter())
            assert found is not None
            return found

        return asyncio.create_task(
            news.wait_for(session_id, 30, look, lambda s: s.version > 1, versions, by=by)
        )

    with limited_to(service.one.operator.operator_id):
        waiting = [wait(session["id"], "trm_one") for _ in range(MOST_OF_ONE_CALLER)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyWaits):
            await wait(session["id"], "trm_one")
    with limited_to(service.other.operator.operator_id):
        other = wait(others.json()["id"], "trm_other")
    await service.charging(others.json()["id"], "c1")
    news.notify("")
    assert (await other).version > 1
    news.close()
    assert {(await each).version for each in waiting} == {1}


def test_unfinished_bodies_are_counted_by_address_and_together() -> None:
    bodies = UnfinishedBodies(most=100, most_of_one=60)
    assert bodies.admit("a", 60)
    assert not bodies.admit("a", 1)
    bodies.ended("a", 1)
    assert bodies.admit("b", 40)
    assert not bodies.admit("c", 1)
    for address, size in (("a", 60), ("b", 40), ("c", 1)):
        bodies.ended(address, size)
    assert bodies.total == 0


async def test_bodies_that_never_end_take_bounded_memory(service: Service) -> None:
    """Each sends half of a webhook, and nothing more, until all are refused or given up."""
    open_ended = asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield b"x" * (MAX_BYTES // 2)
        await open_ended.wait()

    async def send() -> int:
        answer = await service.clients[0].post(service.one.operator.webhook_path, content=half())
        return answer.status_code

    senders = [asyncio.create_task(send()) for _ in range(60)]
    refused, waiting = await asyncio.wait(senders, timeout=2, return_when=asyncio.FIRST_COMPLETED)
    while len(waiting) > 32:
        done, waiting = await asyncio.wait(waiting, timeout=2, return_when=asyncio.FIRST_COMPLETED)
        refused |= done
    assert {task.result() for task in refused} == {503}
    assert UNFINISHED.total <= 16 * 1024 * 1024
    open_ended.set()
    assert {await task for task in waiting} == {401}
    assert UNFINISHED.total == 0


HOSTILE = {
    "quotes": b'"' * MAX_BYTES,
    "quotes and spaces": b'"" ' * (MAX_BYTES // 3),
    "letters and spaces": b"a " * (MAX_BYTES // 2),
    "brackets": b"[" * MAX_BYTES,
    "entries of brackets": b'{"entries":[' + b"[" * (MAX_BYTES // 2) + b"]" * (MAX_BYTES // 2 - 14) + b"]}",
    "small entries": b'{"entries":[' + b"{}," * 3_000 + b"{}]}",
}
BLOCKED_S = 0.25
"""The longest that anything else waits for its turn; before, it was up to a second (CPU time, on a busy machine)."""


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
async def test_a_hostile_delivery_keeps_nobody_waiting(service: Service, body: bytes, signed: bool) -> None:
    signature = sign(service.one.operator.webhook_secret, body) if signed else "sha1=00"
    longest, done = 0.0, asyncio.Event()

    async def live() -> None:
        nonlocal longest
        while not done.is_set():
            began = time.process_time()
            assert (await service.clients[0].get("/health/live")).status_code == 200
            await asyncio.sleep(0)
            longest = max(longest, time.process_time() - began)

    watching = asyncio.create_task(live())
    await asyncio.sleep(0)
    answer: httpx.Response = await service.webhook(body, signature=signature)
    done.set()
    await watching
    assert answer.status_code in ((200, 400) if signed else (401,))
    assert longest < BLOCKED_S


async def test_a_refused_call_of_a_valid_key_is_held_back() -> None:
    limits = RateLimits(replace(ENDLESS, calls=4), hold_back_s=1_000)
    await limits.call("lane 1", None, 0.0, stops=False, holds=False)
    refused = asyncio.create_task(limits.call("lane 1", None, 0.0, stops=False, holds=False))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not refused.done()
    refused.cancel()


async def test_refusals_that_come_together_are_answered_one_after_the_other() -> None:
    """None before its turn. How long after it depends on the machine."""
    loop, limits = asyncio.get_running_loop(), RateLimits(replace(ENDLESS, failed_keys=4), hold_back_s=0.002)
    assert await limits.failure("one", 0.0) == 0
    answered_s: list[float] = []
    began_s = loop.time()

    async def refused() -> None:
        assert await limits.failure("one", 0.0) > 0
        answered_s.append(loop.time() - began_s)

    await asyncio.gather(*(refused() for _ in range(10)))
    assert len(answered_s) == 10
    assert all(at_s >= turn * APART_S for turn, at_s in enumerate(answered_s)), answered_s
