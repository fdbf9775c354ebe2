"""Some of the crash points of each journey; all of them with `python3 run.py world --crash-points`."""

import asyncio

import pytest

from tests.postgres import TEMPLATE, TestCluster
from tests.world.crash_points import JOURNEYS, CrashPoint, crash_points, strike
from tests.world.loop import WorldLoop
from tests.world.run import Ended, ground, quiet

STRUCK = 8
"""Of each journey, evenly spread over its places."""


async def struck(url: str, journey: str) -> list[tuple[CrashPoint, Ended]]:
    async with ground(url) as on:
        points = await crash_points(on, journey)
        return [(point, await strike(on, point)) for point in points[:: len(points) // STRUCK]]


@pytest.mark.parametrize("journey", JOURNEYS)
def test_a_crash_or_a_freeze_at_any_place_loses_nothing_and_doubles_nothing(
    migrated_cluster: TestCluster, journey: str
) -> None:
    with (
        quiet(),
        migrated_cluster.database(TEMPLATE) as url,
        asyncio.Runner(loop_factory=WorldLoop) as runner,
    ):
        for point, ended in runner.run(struck(url, journey)):
            assert ended.violation is None, f"{ended.story}\n{point}\n{ended.violation}"
