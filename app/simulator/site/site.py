"""State of the simulator: charge points, cars, charges, listeners. Listeners are for changes."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from app.domain.charging.charge import ENDED, ChargeState
from app.simulator.config import PointConfig, SimulatorConfig
from app.simulator.site.charge import Charge, StartOrder
from app.simulator.site.prices import PriceGroup, price
from app.simulator.site.random_streams import RandomStreams
from app.simulator.site.timeline import Action, Appointment, Timeline
from app.simulator.site.vehicles import Vehicle

MAX_CHARGES = 50_000
"""Beyond this, the oldest completed charge is dropped for each new one."""


class UnknownId(LookupError):
    """No such charge point, charge, team or price group."""


@dataclass(slots=True, eq=False)
class Plugged:
    """A car at the cable. `stored_wh` is its battery's energy when power last began or ended."""

    vehicle: Vehicle
    stored_wh: float
    since: datetime


@dataclass(slots=True, eq=False)
class Point:
    """A charge point now. `charge` is the one that occupies it, from the start until completed."""

    config: PointConfig
    offline: bool
    updated_at: datetime
    plugged: Plugged | None = None
    charge: Charge | None = None
    meter_wh: int = 0
    throttled: int = 0

    @property
    def busy(self) -> bool:
        return self.charge is not None


class Site:
    """Charges and charge points, their one clock, and counters. Tests read the counters."""

    def __init__(self, config: SimulatorConfig, timeline: Timeline, streams: RandomStreams) -> None:
        self.config = config
        self.timeline = timeline
        self.streams = streams
        self.counters: Counter[str] = Counter()
        self.groups: dict[int, PriceGroup] = {group.id: group for group in config.price_groups}
        self.points: dict[int, Point] = {
            point.id: Point(point, point.offline, timeline.now, meter_wh=1000 * (point.id * 37 % 9000))
            for point in config.points
        }
        self.charges: dict[int, Charge] = {}
        self.charge_watchers: list[Callable[[Charge, str], None]] = []
        self.point_watchers: list[Callable[[Point], None]] = []
        self.opened_at = timeline.now
        self._steps: dict[int, Appointment] = {}

    @property
    def now(self) -> datetime:
        return self.timeline.now

    def point(self, point_id: int) -> Point:
        if point_id not in self.points:
            raise UnknownId(f"charge point {point_id}")
        return self.points[point_id]

    def group(self, group_id: int) -> PriceGroup:
        if group_id not in self.groups:
            raise UnknownId(f"price group {group_id}")
        return self.groups[group_id]

    def charge(self, charge_id: int) -> Charge:
        if charge_id not in self.charges:
            raise UnknownId(f"charge {charge_id}")
        return self.charges[charge_id]

    def create(self, order: StartOrder, *, spare: bool) -> Charge:
        """Creates the record of a new charge; nothing physical happens yet."""
        point = self.point(order.charge_point_id)
        charge = Charge(
            id=self.streams.charge_id(),
            human_id=self.streams.human_id(),
            order=order,
            price_group=self.group(order.price_group_id or point.config.price_group_id),
            created_at=self.now,
            updated_at=self.now,
            state=ChargeState.RESERVED if order.reserve else ChargeState.STARTING,
            start_meter_wh=point.meter_wh,
            spare=spare,
            payment_session=order.payment_session,
            partner_external_id=order.partner_external_id,
            custom_payload=order.custom_payload,
            cable_plugged_in_at=point.plugged.since if point.plugged else None,
            # As in Monta's real rows: set at once, so it is no proof that energy flows.
            started_at=None if order.reserve else self.now,
        )
        self.charges[charge.id] = charge
        self._forget_old()
        self.counters["charges_created"] += 1
        return charge

    def _forget_old(self) -> None:
        oldest = next(iter(self.charges.values()))
        if len(self.charges) > MAX_CHARGES and oldest.state is ChargeState.COMPLETED:
            del self.charges[oldest.id]
            self._steps.pop(oldest.id, None)

    def changed(self, charge: Charge, event: str = "updated") -> None:
        """Reports a change of a charge to the listeners."""
        charge.updated_at = self.now
        charge.price = self._price(charge)
        for watch in self.charge_watchers:
            watch(charge, event)
        self.point_changed(self.points[charge.point_id])

    def point_changed(self, point: Point) -> None:
        point.updated_at = self.now
        for watch in self.point_watchers:
            watch(point)

    def step(self, charge: Charge, seconds: float, action: Action) -> None:
        """Plans the next step of a charge's life, replacing the previous plan."""
        self.forget_step(charge)
        self._steps[charge.id] = self.timeline.after(seconds, action)

    def forget_step(self, charge: Charge) -> None:
        planned = self._steps.pop(charge.id, None)
        if planned is not None:
            planned.cancel()

    def _price(self, charge: Charge) -> Decimal | None:
        if charge.price_waived:
            return Decimal(0)
        if charge.power_since is None and charge.state not in ENDED:
            return None
        return self.config.currency.rounded(price(charge.price_group, charge.usage(self.now)).total)
