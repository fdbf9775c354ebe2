"""Some of the crash points of each journey; all of them with `python3 run.py world --crash-points`."""

from random import Random

import pytest

from tests.conftest import Sized
from tests.world.crash_points import JOURNEYS, CrashPoint, crash_points, strike
from tests.world.fault_injector import AFTER
from tests.world.replicas import Environment
from tests.world.run import Ended, Worlds

STRUCK = (2, 20)
"""Points of each journey before an effect and as many after one, the same each time: by default, in the long run."""


@pytest.mark.parametrize("journey", JOURNEYS)
def test_a_crash_or_a_freeze_at_any_place_loses_nothing_and_doubles_nothing(
    worlds: Worlds, sized: Sized, journey: str
) -> None:
    async def struck(on: Environment) -> list[tuple[CrashPoint, Ended]]:
        points = await crash_points(on, journey)
        after = [point for point in points if point.fault in AFTER]
        before = [point for point in points if point.fault not in AFTER]
        chosen = [each for some in (before, after) for each in Random(journey).sample(some, sized(*STRUCK))]
        return [(point, await strike(on, point)) for point in chosen]

    for point, ended in worlds.run(struck):
        assert ended.violation is None, f"{ended.story}\n{point}\n{ended.violation}"
