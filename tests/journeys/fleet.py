"""Many sessions of one operator at once, on charge points of every speed."""

from collections import Counter
from datetime import datetime

from app.simulator.charge_points import PRICE_GROUPS
from app.simulator.config import Driver, PointConfig, SimulatorConfig
from tests.journeys.rig import Json, Rig

FIRST_ID = 2001
KINDS = (
    (11_000, 21, "Volkswagen ID.3 58 kWh", (900, 1500, 2500)),
    (22_000, 22, "Renault Zoe R110 ZE40", (1200, 2000)),
    (11_000, 21, "Volkswagen ID.3 58 kWh", (2500,)),
    (50_000, 23, "Hyundai Kona 64 kWh 11 kW-AC", (1200, 1900, 2600)),
    (3_700, 21, "Nissan Leaf 40 kWh", (700, 1500)),
)
"""Power, price group, car, amounts: every fifth or so comes to its limit within half an hour."""


def quota(size: int) -> int:
    """Monta's usual 1000 requests in 600 s are for 500 sessions; the part that does not depend on their number
    needs a few more."""
    return max(40, 2 * size)


def fleet_config(size: int, *, rate_limit: int | None = None) -> SimulatorConfig:
    """A charge point for each session; the quota grows and shrinks with them."""
    return SimulatorConfig(
        points=tuple(_point(number) for number in range(size)),
        price_groups=PRICE_GROUPS,
        rate_limit=rate_limit or quota(size),
    )


def _point(number: int) -> PointConfig:
    watts, group, vehicle, _ = KINDS[number % len(KINDS)]
    return PointConfig(
        id=FIRST_ID + number,
        name=f"point {number}",
        max_w=watts,
        price_group_id=group,
        direct_current=watts >= 50_000,
        driver=Driver(vehicle=vehicle, unplugs_after_stop_s=20.0),
    )


async def charge_all(rig: Rig, size: int, *, pause_s: float = 0.7) -> list[Json]:
    """A card at each charge point, one after the other."""
    sessions = []
    for number in range(size):
        amounts = KINDS[number % len(KINDS)][3]
        amount = amounts[number // len(KINDS) % len(amounts)]
        sessions.append(await rig.authorize(FIRST_ID + number, amount))
        await rig.pass_time(pause_s)
    return sessions


def busiest_window(rig: Rig, since: datetime, window_s: int = 600) -> int:
    """The most requests in any of Monta's windows from then on."""
    counted = Counter(
        int((line.at - since).total_seconds() // window_s) for line in rig.monta.requests if line.at >= since
    )
    return max(counted.values())
