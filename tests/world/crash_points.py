"""Every crash point: at each place of each journey, before and after its effect, one replica dies or stands still."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from app.domain.policy import Policy
from app.simulator.config import Driver, PointConfig, SimulatorConfig
from app.simulator.magic import PRICE_GROUPS
from app.simulator.quirks import Fault, Quirks, Trouble
from tests.world.blows import AFTER, Blow, Once, Place
from tests.world.plan import PAYING_TEAM, Payment, Plan
from tests.world.run import Ended, forget, run_one
from tests.world.slots import Ground
from tests.world.world import World

FREEZE_S = 60.0
"""Longer than a lease: meanwhile another replica takes over, if there is one."""
RETURNS_S = 5.0
STAYS_AWAY_S = 1e6
POLICY = Policy(stray_watch_s=90)
"""Twenty minutes of looking for strays would be thousands of places that are all the same."""
BLOWS = (Blow.CRASH_BEFORE, Blow.CRASH_AFTER, Blow.FREEZE_BEFORE, Blow.FREEZE_AFTER)


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """The blow that falls at the n-th place of a journey, and whether there is another replica to take over."""

    journey: str
    at: int
    place: str
    blow: Blow
    alone: bool

    def __str__(self) -> str:
        who = "the same replica returns" if self.alone else "another replica takes over"
        return f"{self.journey}, place {self.at} ({self.place}): {self.blow}, {who}"


def journey(name: str) -> Plan:
    """A plan without any trouble but what the journey is about."""
    driver = Driver(vehicle="Hyundai Ioniq 5", unplugs_after_stop_s=5.0, next_car_after_s=30.0)
    payment = Payment(at_s=1.0, operator=0, point=11, amount=300, reference="A-1", key="K-1")
    quirks = Quirks()
    match name:
        case "stopped at the limit":
            pass
        case "stopped by the driver":
            payment = replace(payment, cancels_after_s=40.0)
        case "cancelled before it began":
            payment = replace(payment, cancels_after_s=0.0)
        case "never plugged in":
            driver = replace(driver, arrives_plugged_in=False)
        case "refused":
            quirks = Quirks(at_start=Fault(Trouble.REFUSED))
        case "start without an answer":
            quirks = Quirks(at_start=Fault(Trouble.ANSWER_LOST))
        case "topped up":
            payment = replace(payment, tops_up_after_s=20.0)
        case _:
            raise ValueError(f"no journey {name!r}")
    point = PointConfig(
        id=11,
        name="point 11",
        max_w=150_000,
        price_group_id=25,
        direct_current=True,
        meter_interval_s=30.0,
        driver=driver,
        quirks=quirks,
    )
    monta = SimulatorConfig(
        points=(point,), price_groups=PRICE_GROUPS, client_id="client-0", paying_team_ids=(PAYING_TEAM,)
    )
    return Plan(seed=1, replicas=2, monta=(monta,), payments=(payment,), danger_s=0.0)


JOURNEYS = (
    "stopped at the limit",
    "stopped by the driver",
    "cancelled before it began",
    "never plugged in",
    "refused",
    "start without an answer",
    "topped up",
)


async def crash_points(on: Ground, name: str) -> list[CrashPoint]:
    """All of a journey's: it is walked undisturbed first, alone and in company, to see where it passes."""
    found: list[CrashPoint] = []
    for alone in (True, False):
        walked = Once(None, Blow.NONE)
        await forget(on)
        ended = await run_one(World(on, _plan(name, alone), walked, policy=POLICY))
        if ended.violation is not None:
            raise ended.violation
        found += [CrashPoint(name, at, what, blow, alone) for at, what, blow in _blows(walked.passed)]
    return found


def _blows(passed: list[str]) -> Iterator[tuple[int, str, Blow]]:
    for (at, what), blow in product(enumerate(passed), BLOWS):
        nothing_done_yet = f" {Place.BEGIN} " in what and blow in AFTER
        if not nothing_done_yet:
            yield at, what, blow


async def strike(on: Ground, point: CrashPoint) -> Ended:
    """The journey with this one blow; it must end as every world must."""
    down_s = RETURNS_S if point.alone else STAYS_AWAY_S
    mischief = Once(point.at, point.blow, freeze_s=FREEZE_S, down_s=down_s)
    await forget(on)
    return await run_one(World(on, _plan(point.journey, point.alone), mischief, policy=POLICY))


def _plan(name: str, alone: bool) -> Plan:
    return replace(journey(name), replicas=1 if alone else 2)
