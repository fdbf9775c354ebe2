"""The primary is killed and its synchronous standby promoted: nothing acknowledged to a terminal is lost."""

import asyncio
import random
import time

import pytest

from tests.processes.conftest import Deployment
from tests.processes.fleet import announce
from tests.processes.terminals import audit, whole_session

pytestmark = pytest.mark.anyio

FAIL_OVERS = 3
LANES = 6


async def test_F81_the_service_goes_on_after_a_fail_over_and_nothing_acknowledged_is_lost(
    quiet: Deployment,
) -> None:
    seed, fail_overs = announce("fail-over"), quiet.sized(1, FAIL_OVERS)
    fleet, rng, over = quiet.fleet, random.Random(seed), asyncio.Event()
    before = len(quiet.known)

    async def lane(n: int) -> None:
        own, number = random.Random(seed + n), 0
        while not over.is_set():
            number += 1
            reference, point = f"OVER-{n}-{number}", fleet.points[n]
            quiet.known.append(await whole_session(fleet, fleet.replicas, own, reference, point))

    outages = []
    async with asyncio.TaskGroup() as group:
        for n in range(LANES):
            group.create_task(lane(n))
        for number in range(fail_overs):
            await asyncio.sleep(rng.uniform(1, 3 * fail_overs))
            outages.append(await _fail_over(quiet))
            if number + 1 < fail_overs:
                await quiet.pair.rebuild()
        over.set()
    found = await audit(fleet, quiet.known)
    assert not fleet.logs("request_failed", "session_failed")
    print(
        f"{fail_overs} fail-overs, {len(quiet.known) - before} sessions, all so far: {dict(found)}; "
        f"all replicas ready again {', '.join(f'{outage:.1f} s' for outage in outages)} after the kill"
    )


async def _fail_over(deployment: Deployment) -> float:
    """Seconds from the kill until every replica is ready."""
    began = time.monotonic()
    await deployment.pair.fail_over()
    for replica in deployment.fleet.replicas:
        await deployment.fleet.ready(replica)
    return time.monotonic() - began
