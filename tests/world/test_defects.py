"""Each planted defect is detected within its number of seeds: the rules leave no gap for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.postgres import TEMPLATE, TestCluster
from tests.world.defects import DEFECTS
from tests.world.defects.planting import Defect, planted
from tests.world.draw import draw
from tests.world.faults import Befall
from tests.world.replicas import Environment
from tests.world.run import Ended, Worlds, forget, run_one
from tests.world.story import Violation
from tests.world.world import World


@contextmanager
def worlds_without(schema: tuple[str, ...], cluster: TestCluster) -> Iterator[Worlds]:
    """On a database of their own, which lacks some constraints."""
    with cluster.database(TEMPLATE) as url, Worlds(url) as worlds:

        async def drop(on: Environment) -> None:
            with on.loop.io():
                for statement in schema:
                    await on.beside.execute(statement)

        worlds.run(drop)
        yield worlds


@dataclass(frozen=True, slots=True)
class Noticed:
    seed: int
    violation: Violation


async def noticed(on: Environment, defect: Defect) -> Noticed | None:
    """Returns the first seed in which the defect breaks a rule, and the rule. The seed that is known to notice it is
    tried first; should it no longer do so, the others are."""
    for seed in sorted(range(1, defect.seeds + 1), key=lambda seed: seed != defect.noticed_in):
        await forget(on)
        with planted(defect):
            ended = await run_one(World(on, draw(seed, defect.under), policy=defect.policy))
        if ended.violation is not None:
            return Noticed(seed, ended.violation)
    return None


Controls = dict[tuple[int, tuple[Befall, ...]], Ended]


@pytest.fixture(scope="module")
def controls() -> Controls:
    """Worlds without a defect that have run, by seed and faults: several defects are noticed in the same one."""
    return {}


async def sound(on: Environment, seed: int, defect: Defect) -> Ended:
    """The same world without the defect."""
    await forget(on)
    return await run_one(World(on, draw(seed, defect.under)))


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_planted_defect_is_noticed(
    worlds: Worlds, migrated_cluster: TestCluster, controls: Controls, defect: Defect
) -> None:
    if defect.schema:
        with worlds_without(defect.schema, migrated_cluster) as others:
            found = others.run(lambda on: noticed(on, defect))
    else:
        found = worlds.run(lambda on: noticed(on, defect))
    assert found is not None, f"{defect.name}: not noticed within {defect.seeds} seeds"
    seed, which = found.seed, (found.seed, defect.under)
    if which not in controls:
        controls[which] = worlds.run(lambda on: sound(on, seed, defect))
    control = controls[which]
    assert control.violation is None, f"without the defect too: {control.story}"


def test_there_are_at_least_25_defects() -> None:
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS) >= 25
