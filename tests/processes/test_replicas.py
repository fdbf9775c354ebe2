"""Three replicas that are killed, frozen and ended under load: no session is lost, none is done twice."""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Sequence

import httpx
import pytest

from tests.processes.conftest import Deployment
from tests.processes.fleet import LEASE_S, POLL_S, READY_S, announce, until
from tests.processes.proxy import Transaction
from tests.processes.terminals import audit, authorize, finish, payment, whole_session
from tests.processes.turmoil import FREEZE_S, Turmoil

pytestmark = pytest.mark.anyio

TERMINALS = 4
MOST_CALLS = 100
AT_ONCE = 20
SLACK_S = 2.0
"""Beyond the lease: a poll that just missed it, and a busy machine."""
TOKEN = "SELECT lease_token FROM payment_sessions WHERE id = $1"


async def busy(deployment: Deployment, rng: random.Random, over: asyncio.Event, first: int) -> None:
    """One terminal after the other at the charge points of one lane, until it is over."""
    fleet, number = deployment.fleet, 0
    lane = fleet.points[first % len(fleet.points) :: TERMINALS]
    while not over.is_set():
        reference = f"BUSY-{first}-{number}"
        session = await whole_session(fleet, fleet.replicas, rng, reference, lane[number % len(lane)])
        deployment.known.append(session)
        number += 1


async def test_F22_F60_F88_kills_freezes_and_ends_under_load_lose_nothing_and_double_nothing(
    quiet: Deployment,
) -> None:
    seed = announce("turmoil")
    fleet, over, before = quiet.fleet, asyncio.Event(), len(quiet.known)
    turmoil = Turmoil(fleet, random.Random(seed))
    async with asyncio.TaskGroup() as group:
        for n in range(TERMINALS):
            group.create_task(busy(quiet, random.Random(seed + n), over, n))
        await turmoil.strike(kill=quiet.sized(1, 60), freeze=quiet.sized(1, 10), drain=quiet.sized(1, 5))
        await turmoil.strike_until_seen()
        over.set()
    found = await audit(fleet, quiet.known)
    print(
        f"{dict(turmoil.struck)}; {len(quiet.known) - before} sessions, all so far: {dict(found)}; "
        f"{len(turmoil.took_over_s)} taken over, p99 {turmoil.p99_s():.2f} s of a lease of {LEASE_S} s, "
        f"the machine stalled for {turmoil.stalled_s:.2f} s at most"
    )
    assert turmoil.took_over_s, "no strike hit a session in work: it proves nothing"
    assert turmoil.p99_s() <= LEASE_S + SLACK_S + turmoil.stalled_s


async def test_F22_a_replica_frozen_between_its_intent_and_its_post_sends_nothing_when_it_thaws(
    quiet: Deployment,
) -> None:
    fleet, frozen = quiet.fleet, asyncio.Event()
    replica, *others = fleet.replicas

    async def freeze(transaction: Transaction) -> None:
        """The server has the intent; its answer reaches a frozen process."""
        if "start_intended" in transaction.kinds and not frozen.is_set():
            frozen.set()
            replica.send(signal.SIGSTOP)

    quiet.proxy.before_answer = freeze
    for other in others:  # so that this one claims it
        other.send(signal.SIGSTOP)
    try:
        rng = random.Random(1)
        session = await authorize(fleet, [replica], rng, "FROZEN-1", fleet.points[0])
        await asyncio.wait_for(frozen.wait(), READY_S)
        token = await fleet.value(TOKEN, session)
    finally:
        for other in others:
            other.send(signal.SIGCONT)
    await asyncio.sleep(FREEZE_S)
    ends_at = time.monotonic() + READY_S
    while await fleet.value(TOKEN, session) == token:
        assert time.monotonic() < ends_at, "no replica took over"
        await asyncio.sleep(POLL_S)
    posts = (await fleet.books())["posts"].get(session, 0)
    # On a busy machine the quiet window may be over, and another replica's own intent with it.
    assert posts == 0 or (await _told(quiet, session)).count("start_intended") == 2, (
        "the intent was sent by a replica that only read"
    )
    replica.send(signal.SIGCONT)
    await fleet.ready(replica)
    await _until_posted(quiet, [session])
    await finish(fleet, fleet.replicas, rng, [session])
    quiet.known.append(session)
    await audit(fleet, quiet.known)
    assert (await fleet.books())["posts"][session] == 1
    told = await _told(quiet, session)
    assert told.count("start_intended") == 2, told
    await until(lambda: bool(fleet.logs("lease_lost")), READY_S, "a word of the thawed replica")


async def _told(deployment: Deployment, session: str) -> list[str]:
    """The kinds of a session's journal."""
    kinds = "SELECT kind FROM journal WHERE session_id = $1 ORDER BY id"
    return [str(row["kind"]) for row in await deployment.fleet.rows(kinds, session)]


async def _until_posted(deployment: Deployment, sessions: Sequence[str]) -> None:
    for _ in range(300):
        if set(sessions) <= set((await deployment.fleet.books())["posts"]):
            return
        await asyncio.sleep(0.2)
    raise AssertionError("a session was not started")


async def test_F1_many_callers_of_one_reference_at_three_replicas_make_one_session_and_one_post(
    quiet: Deployment,
) -> None:
    fleet, rng = quiet.fleet, random.Random(announce("one reference, many callers"))
    references, callers = quiet.sized(8, 500), quiet.sized(16, 64)
    before, unanswered = await fleet.books(), 0

    async def one_calls(number: int) -> tuple[int, str]:
        """As a terminal does: without an answer, the same call again."""
        nonlocal unanswered
        body = payment(f"SAME-{number}", fleet.points[number])
        for _ in range(MOST_CALLS):
            with contextlib.suppress(httpx.TransportError):  # an idle connection was closed just then
                replica = rng.choice(fleet.replicas)
                answer = await fleet.call(replica, "POST", "/v1/payment-sessions", body)
                if answer.status_code != 503:
                    assert answer.status_code in (200, 201), answer.text
                    return answer.status_code, str(answer.json()["id"])
            unanswered += 1
            await asyncio.sleep(rng.uniform(0, 1))
        raise AssertionError(f"no answer to {MOST_CALLS} calls")

    async def all_call(number: int) -> str:
        answers = await asyncio.gather(*(one_calls(number) for _ in range(callers)))
        firsts = [status for status, _ in answers].count(201)
        assert firsts == 1 or (firsts == 0 and unanswered), f"{firsts} of them made it"
        (session,) = {session for _, session in answers}
        return session

    sessions: list[str] = []
    for first in range(0, references, AT_ONCE):  # charges that run on would be a load of another kind
        made = [await all_call(number) for number in range(first, min(first + AT_ONCE, references))]
        await _until_posted(quiet, made)
        await finish(fleet, fleet.replicas, rng, made)
        sessions += made
    assert len(set(sessions)) == references
    quiet.known.extend(sessions)
    await audit(fleet, quiet.known)
    books = await fleet.books()
    assert sum(books["posts"].values()) - sum(before["posts"].values()) == references
    assert {books["posts"][session] for session in sessions} == {1}
    print(
        f"{references} references x {callers} callers: {len(set(sessions))} sessions, {references} POSTs; "
        f"{unanswered} calls repeated for want of an answer"
    )
