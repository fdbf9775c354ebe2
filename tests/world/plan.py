"""The plan of a seed, drawn before anything happens: payments, and the faults that affect them."""

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from app.domain.limit.policy import Policy
from app.simulator.config import SimulatorConfig
from app.simulator.faults.catalog import FaultKind, Misreport, PointFaults
from tests.world.fault_injector import Rates

PAYING_TEAM = 4711
TOP_UP = 500
"""Amount of each top-up, in minor units."""
TOP_UPS_TAKEN = 2
"""Number of top-ups that the operator's ceiling leaves room for, after the highest first hold."""
PRICE_CHANGES = {"dearer": Decimal("1.5"), "cheaper": Decimal("0.5")}
"""Later price of a kWh, as a multiple."""
SOON_S, SHORT_WATCH_S = 120.0, 360.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """A card is tapped; seconds count from the world's beginning, amounts are in minor units."""

    at_s: float
    operator: int
    point: int
    amount: int
    reference: str
    key: str | None = None
    repeats: int = 0
    """The terminal calls again though it was answered, as after a reboot: with a new key or none."""
    hasty: bool = False
    """The first two calls are made at the same time."""
    patience_s: float = 10.0
    cancels_after_s: float | None = None
    hold_s: float | None = None
    """How long the hold is valid, as the terminal says; None: it does not say."""
    clock_off_s: float | None = None
    """How far the terminal's clock is ahead when it dates its holds; None: it does not date them."""
    vanishes: bool = False
    """The terminal never polls again once its payment was acknowledged."""
    tops_up_after_s: float | None = None
    top_ups: int = 1
    """Number of top-ups, one after the other."""
    totals: tuple[tuple[float, int], ...] = ()
    """New totals of the first hold, which the PSP raises and lowers in place; each so many seconds after the last."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A fault of one operator's Monta for every request to `path` during some time."""

    operator: int
    since_s: float
    until_s: float
    fault_kind: FaultKind
    path: str = "*"
    seconds: float = 0.0
    """How late a slow answer comes."""


@dataclass(frozen=True, slots=True)
class Happening:
    """An action of a driver or of hardware: the name of a method of the simulator, or one of World's own."""

    at_s: float
    operator: int
    point: int
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything decided beforehand; the rest is drawn from the same seed as it comes."""

    seed: int
    replicas: int
    monta: tuple[SimulatorConfig, ...]
    payments: tuple[Payment, ...]
    rates: Rates = field(default_factory=Rates)
    shortest_freeze_s: float = 20.0
    longest_freeze_s: float = 120.0
    outages: tuple[Outage, ...] = ()
    happenings: tuple[Happening, ...] = ()
    search_lag_s: float = 0.0
    webhook_loss: float = 0.0
    forged: int = 0
    """Number of forgeries and replays; Monta itself signs one delivery wrongly, as in a rotation."""
    outsiders: int = 0
    """Number of calls about a session by keys of other terminals and other operators."""
    line_s: float = 0.0
    """Delay of each request to Monta on its way, in seconds."""
    webhooks_off: tuple[float, float] | None = None
    """From when to when no delivery reaches us."""
    restored: tuple[float, float] | None = None
    """When a backup of the database is made, and when it is all that is left."""
    danger_s: float = 480.0
    """Seconds after which the quiet phase begins."""

    @property
    def top_up_max(self) -> int | None:
        """The operators' ceiling for a session with top-ups, in minor units; None: no payment is topped up."""
        if all(payment.tops_up_after_s is None for payment in self.payments):
            return None
        return max(payment.amount for payment in self.payments) + TOP_UPS_TAKEN * TOP_UP

    @property
    def limits_work(self) -> bool:
        """Whether Monta's own limit reaches every charge point and holds at the authorization: with top-ups it
        begins above, and it stays where it was when a hold is lowered."""
        ignored = any(point.faults.limits_ignored for config in self.monta for point in config.points)
        reached = all(happening.what != "offline" for happening in self.happenings)
        fixed = all(payment.tops_up_after_s is None and not payment.totals for payment in self.payments)
        return reached and not ignored and fixed

    @property
    def well_told(self) -> bool:
        """Whether energy and price are known correctly: no meter or record is wrong, no price changes."""
        faults = [point.faults for config in self.monta for point in config.points]
        lies = any(q.meter_falls_at_sample or q.misreport != Misreport() for q in faults)
        return not lies and all(happening.what not in PRICE_CHANGES for happening in self.happenings)

    @property
    def policy(self) -> Policy:
        """How long duplicate charges are searched for: longer than the fifteen minutes by which Monta's effects
        may be late; shorter where nothing comes late, to save minutes of futile searches."""
        starts = [point.faults.at_start for config in self.monta for point in config.points]
        latest_s = max((fault.seconds for fault in starts if fault is not None), default=0.0)
        return Policy() if latest_s > SOON_S else Policy(duplicate_watch_s=SHORT_WATCH_S)

    @property
    def stops_work(self) -> bool:
        """Whether every charge point follows a stop at once, and stays stopped."""
        faults = [point.faults for config in self.monta for point in config.points]
        stops_work = all(not q.stops_ignored and q.restarts_after_s is None for q in faults)
        return stops_work and all(happening.what != "offline" for happening in self.happenings)

    def __str__(self) -> str:
        drawn = [
            f"{self.replicas} replicas",
            f"{len(self.monta)} operators",
            f"{len(self.payments)} payments",
        ]
        drawn += [
            f"operator {n} point {p.id}: {p.faults}"
            for n, c in enumerate(self.monta)
            for p in c.points
            if p.faults != PointFaults()
        ]
        for name in (
            "rates",
            "search_lag_s",
            "webhook_loss",
            "forged",
            "outsiders",
            "line_s",
            "webhooks_off",
            "restored",
            "outages",
            "happenings",
        ):
            if getattr(self, name) not in (0, None, (), Rates()):
                drawn.append(f"{name}: {getattr(self, name)}")
        return f"seed {self.seed}: " + "; ".join(drawn)


def with_fault(plan: Plan, **fault: Any) -> Plan:
    """Gives it to the charge point of the first payment."""
    first = plan.payments[0]
    config = plan.monta[first.operator]
    points = tuple(
        replace(point, faults=replace(point.faults, **fault)) if point.id == first.point else point
        for point in config.points
    )
    monta = list(plan.monta)
    monta[first.operator] = replace(config, points=points)
    return replace(plan, monta=tuple(monta))
