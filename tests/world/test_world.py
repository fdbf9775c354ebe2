"""Worlds by the hundred: whatever the seed, every rule holds and everything finishes.

100 worlds by default, 500 with `--times 20`, any number with `python3 run.py world --seeds N`."""

import pytest

from tests.conftest import Sized
from tests.world.run import Worlds, run_seeds

SEEDS, LOT = 500, 20
WORLDS = (4, LOT)
"""Of each lot: by default, in the long run."""


@pytest.mark.parametrize("first", range(1, SEEDS + 1, LOT))
def test_no_rule_is_broken_in_any_world(worlds: Worlds, sized: Sized, first: int) -> None:
    for ended in worlds.run(lambda on: run_seeds(on, range(first, first + sized(*WORLDS)))):
        assert ended.violation is None, f"{ended.story}\n{ended.violation}"


def test_montas_limit_takes_its_time_again_for_a_charge_that_it_stopped_and_that_restarts(
    worlds: Worlds,
) -> None:
    """While every replica is down, so that nobody else stops it."""
    (ended,) = worlds.run(lambda on: run_seeds(on, [208_796]))
    assert ended.violation is None, f"{ended.story}\n{ended.violation}"


@pytest.mark.parametrize("seed", [8, 15])
def test_the_same_seed_gives_the_same_story(worlds: Worlds, seed: int) -> None:
    one, _, again = worlds.run(lambda on: run_seeds(on, [seed, 3, seed], stories=True))
    assert one.story == again.story
    assert len(one.story.splitlines()) > 20
