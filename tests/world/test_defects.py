"""Each planted defect is noticed within its number of seeds: the rules have no gap that it could slip through."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.postgres import TEMPLATE, TestCluster
from tests.world.defects import DEFECTS
from tests.world.defects.planting import Defect, planted
from tests.world.drawing import draw
from tests.world.run import Worlds, forget, run_one
from tests.world.slots import Ground
from tests.world.story import Violation
from tests.world.world import World


@contextmanager
def worlds_without(schema: tuple[str, ...], cluster: TestCluster) -> Iterator[Worlds]:
    """On a database of their own, which lacks some constraints."""
    with cluster.database(TEMPLATE) as url:
        worlds = Worlds(url)

        async def drop(on: Ground) -> None:
            with on.loop.io():
                for statement in schema:
                    await on.beside.execute(statement)

        worlds.run(drop)
        yield worlds
        worlds.close()


async def noticed(on: Ground, defect: Defect) -> Violation | None:
    with planted(defect):
        for seed in range(1, defect.seeds + 1):
            await forget(on, seed)
            ended = await run_one(World(on, draw(seed, defect.under), policy=defect.policy))
            if ended.violation is not None:
                return ended.violation
    return None


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_planted_defect_is_noticed(worlds: Worlds, migrated_cluster: TestCluster, defect: Defect) -> None:
    if defect.schema:
        with worlds_without(defect.schema, migrated_cluster) as others:
            violation = others.run(lambda on: noticed(on, defect))
    else:
        violation = worlds.run(lambda on: noticed(on, defect))
    assert violation is not None, f"{defect.name}: not noticed within {defect.seeds} seeds"


def test_there_are_at_least_25_defects() -> None:
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS) >= 25
