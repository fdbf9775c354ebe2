"""Draws charge points with their cars, and payments at them, before any fault."""

from decimal import Decimal
from random import Random

from app.simulator.charge_points import PRICE_GROUPS
from app.simulator.config import Driver, PointConfig, SimulatorConfig
from app.simulator.site.prices import PriceGroup
from app.simulator.site.vehicles import VEHICLES
from tests.world.plan import PAYING_TEAM, Payment

POINTS = 3
"""Charge points of each operator; they have the same ids at both, as they may at two accounts of Monta."""
CARS = tuple(sorted(VEHICLES))
IDLE_FEE_GROUP = PriceGroup(
    id=26, name="HPC, idle fee at once", kwh_price=Decimal("0.79"), idle_fee=Decimal("0.08")
)


def draw_monta(rng: Random, seed: int, number: int) -> SimulatorConfig:
    points = tuple(draw_point(rng, 11 + n) for n in range(POINTS))
    return SimulatorConfig(
        points=points,
        price_groups=(*PRICE_GROUPS, IDLE_FEE_GROUP),
        seed=seed,  # the same for both operators: their charges have the same ids
        client_id=f"client-{number}",
        paying_team_ids=(PAYING_TEAM,),
        webhook_cadence_s=rng.choice((2.0, 10.0, 10.0, 10.0)),
        completion_s=rng.choice(((2.0, 3.0), (10.0, 30.0))),
    )


def draw_point(rng: Random, point_id: int) -> PointConfig:
    driver = Driver(
        vehicle=rng.choice(CARS),
        soc_percent=rng.choice((10.0, 20.0, 50.0)),
        arrives_plugged_in=rng.random() < 0.8,
        plugs_in_after_s=rng.choice((5.0, 40.0, 200.0, None)),
        unplugs_after_wh=rng.choice((None, None, None, 1_500)),
        unplugs_after_stop_s=rng.choice((5.0, 20.0, 120.0)),
        next_car_after_s=30.0,
    )
    return PointConfig(
        id=point_id,
        name=f"point {point_id}",
        max_w=rng.choice((50_000, 150_000, 300_000)),
        price_group_id=rng.choice((21, 22, 23, 25)),
        direct_current=True,
        meter_interval_s=rng.choice((30.0, 60.0, 120.0, 120.0)),
        meter_step_wh=rng.choice((None, None, None, 1_000)),
        ramp_s=10.0,
        stop_latency_s=rng.choice((2.0, 3.0, 10.0)),
        driver=driver,
    )


def draw_payment(rng: Random, operators: int, number: int) -> Payment:
    return Payment(
        at_s=rng.uniform(1, 240),
        operator=rng.randrange(operators),
        point=11 + rng.randrange(POINTS),
        amount=rng.choice((200, 300, 500, 800)),
        reference=f"A-{number}",
        key=f"K-{number}" if rng.random() < 0.5 else None,
        repeats=rng.choice((0, 0, 1, 2)),
        hasty=rng.random() < 0.15,
        patience_s=rng.choice((3.0, 10.0)),
        cancels_after_s=rng.uniform(0, 300) if rng.random() < 0.25 else None,
        vanishes=rng.random() < 0.1,
    )
