"""Some of the crash points of each journey; all of them with `python3 run.py world --crash-points`."""

import pytest

from tests.world.crash_points import JOURNEYS, CrashPoint, crash_points, strike
from tests.world.run import Ended, Worlds
from tests.world.slots import Ground

STRUCK = 8
"""Of each journey, evenly spread over its places."""


@pytest.mark.parametrize("journey", JOURNEYS)
def test_a_crash_or_a_freeze_at_any_place_loses_nothing_and_doubles_nothing(
    worlds: Worlds, journey: str
) -> None:
    async def struck(on: Ground) -> list[tuple[CrashPoint, Ended]]:
        points = await crash_points(on, journey)
        return [(point, await strike(on, point)) for point in points[:: len(points) // STRUCK]]

    for point, ended in worlds.run(struck):
        assert ended.violation is None, f"{ended.story}\n{point}\n{ended.violation}"
