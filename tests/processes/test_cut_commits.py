"""Commits with unknown outcome and disconnecting clients: nothing lost, doubled or left open."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from datetime import datetime

import httpx
import pytest

from tests.processes.conftest import Deployment
from tests.processes.fleet import POLL_S, READY_S, Process, announce
from tests.processes.proxy import Fate, Transaction
from tests.processes.terminals import audit, authorize, finish, payment

pytestmark = pytest.mark.anyio

CUTS = (20, 1000)
LANES = 6
IN_USE = "tapwatt_database_connections_in_use "
GONE, CALLS = (1, 21), (8, 40)


KINDS = 4
"""Lost and unanswered commits, of the endpoint and of the watcher."""


class Shears:
    """Cuts some commits that wrote, before they reach the server or before the answer comes. `at_most`, but goes on up
    to three times that until each kind of cut has happened."""

    def __init__(self, seed: int, *, share: float, at_most: int) -> None:
        self._rng = random.Random(seed)
        self._share = share
        self._left = self._at_most = at_most
        self.cut: Counter[str] = Counter()

    @property
    def blunt(self) -> bool:
        return self._left <= 0 and (len(self.cut) == KINDS or self._left <= -2 * self._at_most)

    async def __call__(self, transaction: Transaction) -> Fate:
        if not transaction.wrote or self.blunt or self._rng.random() > self._share:
            return Fate.PASS
        self._left -= 1
        part = "api" if "payment_authorized" in transaction.kinds else "watcher"
        fates = [Fate.LOST, Fate.UNANSWERED]
        self._rng.shuffle(fates)
        fate = min(fates, key=lambda each: self.cut[f"{part} {each}"])
        self.cut[f"{part} {fate}"] += 1
        return fate


async def test_F6_commits_cut_before_or_after_they_took_effect_lose_nothing_and_double_nothing(
    quiet: Deployment,
) -> None:
    """One replica behind the proxy, whose endpoint and watcher lose half of their commits; the others help."""
    seed = announce("cut commits")
    fleet, number = quiet.fleet, 0
    quiet.proxy.fate_of = shears = Shears(seed, share=0.5, at_most=quiet.sized(*CUTS))

    async def lane(n: int) -> None:
        nonlocal number
        rng = random.Random(seed + n)
        while not shears.blunt:
            number += 1
            session = await authorize(fleet, fleet.replicas[:1], rng, f"CUT-{number}", fleet.points[n])
            quiet.known.append(session)
            await finish(fleet, fleet.replicas[:1], rng, [session])

    await asyncio.gather(*(lane(n) for n in range(LANES)))
    quiet.proxy.let_pass()
    found = await audit(fleet, quiet.known)
    print(f"{sum(shears.cut.values())} commits cut: {dict(shears.cut)}; {number} sessions; {dict(found)}")
    assert shears.blunt
    assert len(shears.cut) == KINDS, "each kind of cut must have happened"


async def test_F7_F84_callers_that_go_away_leave_no_connection_and_no_half_session(quiet: Deployment) -> None:
    """Closes real sockets at a random moment of the call; the same call afterwards finds the result or does it."""
    seed = announce("callers that go away")
    fleet, rng = quiet.fleet, random.Random(seed)
    replica = fleet.replicas[1]
    gone, rounds, each = 0, quiet.sized(*GONE), quiet.sized(*CALLS)
    for number in range(rounds):
        lane = [(payment(f"GONE-{number}-{n}", point), point) for n, point in enumerate(fleet.points[:LANES])]
        calls = [_call_and_go(quiet, body, rng.uniform(0, 0.03)) for body, _ in lane for _ in range(each)]
        gone += sum(await asyncio.gather(*calls))
        made = [authorize(fleet, [replica], rng, b["authorization"]["reference"], p) for b, p in lane]
        sessions = await asyncio.gather(*made)
        quiet.known.extend(sessions)
        await finish(fleet, [replica], rng, sessions)
    found = await audit(fleet, quiet.known)
    await _nothing_is_open(quiet)
    print(f"{gone} callers went away of {rounds * LANES * each}; {dict(found)}")
    assert gone > 0


async def _call_and_go(deployment: Deployment, body: object, after_s: float) -> bool:
    """Whether the caller was gone before the answer came."""
    replica = deployment.fleet.replicas[1]
    key = {"Authorization": f"Bearer {deployment.fleet.terminal_key}"}
    async with httpx.AsyncClient(trust_env=False) as http:
        call = asyncio.ensure_future(http.post(f"{replica.url}/v1/payment-sessions", json=body, headers=key))
        await asyncio.wait({call}, timeout=after_s)
        cancelled = call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
    return cancelled


async def _nothing_is_open(deployment: Deployment) -> None:
    """No connection stays in use, and no transaction is open while its replica uses no connection."""
    before = await _open_transactions(deployment)
    for replica in deployment.fleet.replicas:
        await _is_seen_at_rest(deployment, replica)
    assert not before & await _open_transactions(deployment)


async def _open_transactions(deployment: Deployment) -> set[tuple[int, datetime]]:
    """Those in which no statement is under way, by their process and beginning."""
    idle = (
        "SELECT pid, xact_start FROM pg_stat_activity WHERE application_name = 'tapwatt'"
        " AND datname = current_database() AND state LIKE 'idle in transaction%'"
    )
    return {(row["pid"], row["xact_start"]) for row in await deployment.fleet.rows(idle)}


async def _is_seen_at_rest(deployment: Deployment, replica: Process) -> None:
    """Its watcher takes a connection now and then; one that is never released is in use at every check."""
    ends_at = time.monotonic() + READY_S
    ops = {"Authorization": f"Bearer {deployment.fleet.ops_key}"}
    while True:
        lines = (await deployment.fleet.http.get(f"{replica.url}/metrics", headers=ops)).text.splitlines()
        (in_use,) = [line for line in lines if line.startswith(IN_USE)]
        if in_use == f"{IN_USE}0.0":
            return
        assert time.monotonic() < ends_at, f"{replica.name}: {in_use}"
        await asyncio.sleep(POLL_S)
