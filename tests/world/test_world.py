"""Worlds by the hundred: whatever the seed, every rule holds and everything finishes.

100 worlds by default, 500 with `--times 20`, any number with `python3 run.py world --seeds N`."""

import pytest

from tests.conftest import Sized
from tests.world.replicas import Environment
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


def test_the_same_seed_gives_the_same_story(worlds: Worlds) -> None:
    """Whatever world came before it."""
    eight, fifteen, *again = worlds.run(lambda on: run_seeds(on, [8, 15, 8, 15], stories=True))
    for one, other in zip((eight, fifteen), again, strict=True):
        assert one.story == other.story
        assert len(one.story.splitlines()) > 20


def test_a_replica_begins_with_nothing_of_another_in_memory(worlds: Worlds) -> None:
    """The HTTP applications are made once for all worlds; what they keep is a replica's own."""

    async def kept(on: Environment) -> tuple[set[str], set[str]]:
        """Of two worlds. The second has not used every application."""
        found: list[set[str]] = []
        for seed in (8, 15):
            before = {slot: app.state.context for slot, app in on.apps.items()}
            await run_seeds(on, [seed])
            used = [app for slot, app in on.apps.items() if app.state.context is not before.get(slot)]
            found.append({session_id for app in used for session_id, _ in app.state.own_views._kept})
        return found[0], found[1]

    first, second = worlds.run(kept)
    assert first, "nobody asked for a session"
    assert second, "nobody asked for a session"
    assert not first & second
