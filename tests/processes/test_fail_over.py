"""The primary is killed and its synchronous standby promoted: nothing that a terminal was told of is lost."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.store.migrate import migrate
from tests.processes.fleet import Fleet, announce, open_fleet
from tests.processes.pair import Pair, open_pair
from tests.processes.terminals import reckon, whole_session

pytestmark = pytest.mark.anyio

MOST_FAIL_OVERS = 3
POINTS = 8
DATABASE = "tapwatt"
BACK_S = 20.0


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with open_pair(tmp_path) as pair:
        await pair.primary.execute(f"CREATE DATABASE {DATABASE}")
        await asyncio.to_thread(migrate, pair.url(DATABASE))
        yield pair


async def served_again(fleet: Fleet) -> float:
    """Seconds until every replica is ready."""
    began = time.monotonic()
    for replica in fleet.replicas:
        await fleet.ready(replica, BACK_S)
    return time.monotonic() - began


async def test_F81_the_service_goes_on_after_a_fail_over_and_nothing_acknowledged_is_lost(
    pair: Pair, times: int
) -> None:
    seed, fail_overs = announce("fail-over"), min(MOST_FAIL_OVERS, times)
    url = pair.url(DATABASE)
    async with open_fleet(url, [url, url], points=POINTS, seed=seed) as fleet:
        chance, over, known = random.Random(seed), asyncio.Event(), list[str]()

        async def lane(n: int) -> None:
            own, number = random.Random(seed + n), 0
            while not over.is_set():
                number += 1
                known.append(
                    await whole_session(fleet, fleet.replicas, own, f"OVER-{n}-{number}", fleet.points[n])
                )

        outages = []
        async with asyncio.TaskGroup() as group:
            for n in range(POINTS):
                group.create_task(lane(n))
            for number in range(fail_overs):
                await asyncio.sleep(chance.uniform(1, 3))
                await pair.fail_over()
                outages.append(await served_again(fleet))
                if number + 1 < fail_overs:
                    await pair.rebuild()
            over.set()
        found = await reckon(fleet, known)
        assert not fleet.logs("internal_error", "request_failed"), fleet.logs("request_failed")
        assert not fleet.logs("Traceback"), fleet.logs("Traceback")
    print(
        f"{fail_overs} fail-overs, {len(known)} sessions, {dict(found)}; ready again after "
        f"{', '.join(f'{outage:.1f} s' for outage in outages)}"
    )
