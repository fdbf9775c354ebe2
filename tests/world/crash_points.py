"""Crash points: one replica crashes or freezes at each point of each journey, before and after its effect."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from app.domain.limit.policy import Policy
from app.simulator.charge_points import PRICE_GROUPS
from app.simulator.config import Driver, PointConfig, SimulatorConfig
from app.simulator.faults.catalog import Fault, FaultKind, PointFaults
from tests.world.fault_injector import AFTER, Once, Place, ReplicaFault
from tests.world.plan import PAYING_TEAM, Payment, Plan
from tests.world.replicas import Environment
from tests.world.run import Ended, forget, run_one
from tests.world.world import World

FREEZE_S = 60.0
"""Longer than a lease: another replica, if there is one, takes over meanwhile."""
RETURNS_S = 5.0
STAYS_AWAY_S = 1e6
POLICY = Policy(duplicate_watch_s=90)
"""Twenty minutes of searching for duplicate charges would be thousands of identical points."""
REPLICA_FAULTS = (
    ReplicaFault.CRASH_BEFORE,
    ReplicaFault.CRASH_AFTER,
    ReplicaFault.FREEZE_BEFORE,
    ReplicaFault.FREEZE_AFTER,
)


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """The fault at the n-th point of a journey, and whether another replica can take over."""

    journey: str
    at: int
    place: str
    fault: ReplicaFault
    alone: bool

    def __str__(self) -> str:
        who = "the same replica returns" if self.alone else "another replica takes over"
        return f"{self.journey}, place {self.at} ({self.place}): {self.fault}, {who}"


def journey(name: str) -> Plan:
    """A plan without any fault but the one that the journey is about."""
    driver = Driver(vehicle="Hyundai Ioniq 5", unplugs_after_stop_s=5.0, next_car_after_s=30.0)
    payment = Payment(at_s=1.0, operator=0, point=11, amount=300, reference="A-1", key="K-1")
    faults = PointFaults()
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
            faults = PointFaults(at_start=Fault(FaultKind.REFUSED))
        case "start without an answer":
            faults = PointFaults(at_start=Fault(FaultKind.ANSWER_LOST))
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
        faults=faults,
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


async def crash_points(on: Environment, name: str) -> list[CrashPoint]:
    """All crash points of a journey: it runs undisturbed first, with one replica and with two, to count its
    points."""
    found: list[CrashPoint] = []
    for alone in (True, False):
        walked = Once(None, ReplicaFault.NONE)
        await forget(on)
        ended = await run_one(World(on, _plan(name, alone), walked, policy=POLICY))
        if ended.violation is not None:
            raise ended.violation
        found += [CrashPoint(name, at, what, fault, alone) for at, what, fault in _faults_of(walked.passed)]
    return found


def _faults_of(passed: list[str]) -> Iterator[tuple[int, str, ReplicaFault]]:
    for (at, what), fault in product(enumerate(passed), REPLICA_FAULTS):
        nothing_done_yet = f" {Place.BEGIN} " in what and fault in AFTER
        if not nothing_done_yet:
            yield at, what, fault


async def strike(on: Environment, point: CrashPoint) -> Ended:
    """Runs the journey with this one fault; it must end as every world must."""
    down_s = RETURNS_S if point.alone else STAYS_AWAY_S
    injector = Once(point.at, point.fault, freeze_s=FREEZE_S, down_s=down_s)
    await forget(on)
    return await run_one(World(on, _plan(point.journey, point.alone), injector, policy=POLICY))


def _plan(name: str, alone: bool) -> Plan:
    return replace(journey(name), replicas=1 if alone else 2)
