"""Worlds by the hundred: whatever the seed, every rule holds and everything finishes."""

import pytest

from tests.world.run import Worlds, run_seeds

SEEDS = 500
LOT = 20


@pytest.mark.parametrize("first", range(1, SEEDS + 1, LOT))
def test_no_rule_is_broken_in_any_world(worlds: Worlds, first: int) -> None:
    for ended in worlds.run(lambda on: run_seeds(on, range(first, first + LOT))):
        assert ended.violation is None, f"{ended.story}\n{ended.violation}"


@pytest.mark.parametrize("seed", [8, 15])
def test_the_same_seed_gives_the_same_story(worlds: Worlds, seed: int) -> None:
    one, _, again = worlds.run(lambda on: run_seeds(on, [seed, 3, seed], stories=True))
    assert one.story == again.story
    assert len(one.story.splitlines()) > 20
