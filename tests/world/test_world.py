"""Worlds by the hundred: whatever a seed has in store, every rule holds and everything finishes."""

import asyncio

import pytest

from tests.postgres import TEMPLATE, TestCluster
from tests.world.loop import WorldLoop
from tests.world.run import Ended, quiet, run_seeds

SEEDS = 500
LOT = 20


def run(cluster: TestCluster, seeds: list[int], *, stories: bool = False) -> list[Ended]:
    async def all_of_them(url: str) -> list[Ended]:
        return [ended async for ended in run_seeds(url, seeds, stories=stories)]

    with quiet(), cluster.database(TEMPLATE) as url, asyncio.Runner(loop_factory=WorldLoop) as runner:
        return runner.run(all_of_them(url))


@pytest.mark.parametrize("first", range(1, SEEDS + 1, LOT))
def test_no_rule_is_broken_in_any_world(migrated_cluster: TestCluster, first: int) -> None:
    for ended in run(migrated_cluster, list(range(first, first + LOT))):
        assert ended.violation is None, f"{ended.story}\n{ended.violation}"


@pytest.mark.parametrize("seed", [8, 15])
def test_the_same_seed_tells_the_same_story(migrated_cluster: TestCluster, seed: int) -> None:
    one, _, again = run(migrated_cluster, [seed, 3, seed], stories=True)
    assert one.story == again.story
    assert len(one.story.splitlines()) > 20
