"""Some of the crash points of each journey; all of them with `python3 run.py world --crash-points`."""

from random import Random

import pytest

from tests.world.crash_points import JOURNEYS, CrashPoint, crash_points, strike
from tests.world.fault_injector import AFTER
from tests.world.replicas import Environment
from tests.world.run import Ended, Worlds

STRUCK = 8
"""Points of each journey, the same each time."""


@pytest.mark.parametrize("journey", JOURNEYS)
def test_a_crash_or_a_freeze_at_any_place_loses_nothing_and_doubles_nothing(
    worlds: Worlds, journey: str
) -> None:
    async def struck(on: Environment) -> list[tuple[CrashPoint, Ended]]:
        points = Random(journey).sample(await crash_points(on, journey), STRUCK)
        assert {point.fault in AFTER for point in points} == {True, False}
        return [(point, await strike(on, point)) for point in points]

    for point, ended in worlds.run(struck):
        assert ended.violation is None, f"{ended.story}\n{point}\n{ended.violation}"
