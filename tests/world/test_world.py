"""Worlds by the hundred: whatever the seed, every rule holds and everything finishes.

100 worlds by default, 500 with `--times 20`, any number with `python3 run.py world --seeds N`."""

from collections.abc import Mapping

import pytest

from tests.conftest import Sized
from tests.world.draw import draw
from tests.world.faults import Befall, misreports, monta, site
from tests.world.replicas import Environment
from tests.world.run import Ended, Worlds, forget, run_one, run_seeds
from tests.world.world import World

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


SCARCE = (monta.scarce_quota, monta.late_start, monta.mute_webhooks)
RARELY_TOGETHER: Mapping[str, tuple[int, tuple[Befall, ...]]] = {
    "the stops of a charge that is gone use up the quota": (15, SCARCE),
    "no quota is left to find a charge that starts late": (59, SCARCE),
    "a charge that others restart is gone": (15, (site.restart_by_others, site.long_charge)),
    "the answer to the commit of a stop's outcome is lost": (51, (monta.low_quota, misreports.gone)),
    "a charge point is offline for longer than stops wait for a change": (215_045, ()),
    "a meter falls when its power is known for the first time": (211_055, ()),
}
"""Seeds, some with faults added to theirs: such worlds are drawn once in thousands."""


@pytest.mark.parametrize("case", RARELY_TOGETHER)
def test_no_rule_is_broken_where_faults_meet_that_seldom_do(worlds: Worlds, case: str) -> None:
    seed, under = RARELY_TOGETHER[case]

    async def run(on: Environment) -> Ended:
        await forget(on)
        return await run_one(World(on, draw(seed, under)))

    ended = worlds.run(run)
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
