"""Each planted defect is noticed within its number of seeds: the rules have no gap that it could slip through."""

import asyncio

import pytest

from tests.postgres import TEMPLATE, TestCluster
from tests.world.defects import DEFECTS
from tests.world.defects.planting import Defect, planted
from tests.world.drawing import draw
from tests.world.loop import WorldLoop
from tests.world.run import forget, ground, quiet, run_one
from tests.world.story import Violation
from tests.world.world import World

pytestmark = pytest.mark.usefixtures("migrated_cluster")


async def noticed(url: str, defect: Defect) -> Violation | None:
    async with ground(url) as on:
        with on.loop.io():
            for statement in defect.schema:
                await on.beside.execute(statement)
        with planted(defect):
            for seed in range(1, defect.seeds + 1):
                await forget(on, seed)
                ended = await run_one(World(on, draw(seed, defect.under), policy=defect.policy))
                if ended.violation is not None:
                    return ended.violation
    return None


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_planted_defect_is_noticed(migrated_cluster: TestCluster, defect: Defect) -> None:
    with (
        quiet(),
        migrated_cluster.database(TEMPLATE) as url,
        asyncio.Runner(loop_factory=WorldLoop) as runner,
    ):
        violation = runner.run(noticed(url, defect))
    assert violation is not None, f"{defect.name}: not noticed within {defect.seeds} seeds"


def test_there_are_at_least_25_defects() -> None:
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS) >= 25
