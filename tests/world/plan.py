"""What one seed has in store: who pays where, and which troubles befall them. Drawn before anything happens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from app.domain.policy import Policy
from app.simulator.config import Driver, PointConfig, SimulatorConfig
from app.simulator.magic import PRICE_GROUPS
from app.simulator.quirks import Fault, Quirks, Trouble, WebhookQuirks
from app.simulator.vehicles import VEHICLES
from tests.world.trouble import Rates

PAYING_TEAM = 4711
POINTS = 3
"""Charge points of each operator; they have the same ids at both, as they may at two accounts of Monta."""
SOON_S, SHORT_WATCH_S = 120.0, 360.0
CARS = tuple(sorted(VEHICLES))


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
    """The terminal calls again though it was answered, as after a reboot: with a key of its own or none."""
    hasty: bool = False
    """The first two calls are made at the same time."""
    patience_s: float = 10.0
    cancels_after_s: float | None = None
    vanishes: bool = False
    """The terminal never asks again once its payment was acknowledged."""
    tops_up_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Outage:
    """What one operator's Monta does to every request to `path` for a while."""

    operator: int
    since_s: float
    until_s: float
    trouble: Trouble
    path: str = "*"


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that people or hardware do at a charge point: the name of a method of the simulator."""

    at_s: float
    operator: int
    point: int
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that is decided beforehand; the rest is drawn from the same seed as it comes."""

    seed: int
    replicas: int
    monta: tuple[SimulatorConfig, ...]
    payments: tuple[Payment, ...]
    rates: Rates = field(default_factory=Rates)
    longest_freeze_s: float = 120.0
    outages: tuple[Outage, ...] = ()
    happenings: tuple[Happening, ...] = ()
    search_lag_s: float = 0.0
    webhook_loss: float = 0.0
    forged: int = 0
    """How many lies and repetitions somebody sends; Monta itself signs one delivery wrongly, as in a rotation."""
    webhooks_off: tuple[float, float] | None = None
    """From when to when no delivery reaches us."""
    danger_s: float = 480.0
    """After this long the calm begins."""

    @property
    def limits_work(self) -> bool:
        """Monta's own guard reaches every charge point, and holds at the reservation: with top-ups it begins above."""
        ignored = any(point.quirks.limits_ignored for config in self.monta for point in config.points)
        reached = all(happening.what != "offline" for happening in self.happenings)
        return reached and not ignored and all(payment.tops_up_after_s is None for payment in self.payments)

    @property
    def policy(self) -> Policy:
        """Monta's effects may come up to fifteen minutes late, and strays are looked for longer than that; where
        nothing comes so late, minutes of looking in vain are left out."""
        starts = [point.quirks.at_start for config in self.monta for point in config.points]
        latest_s = max((fault.seconds for fault in starts if fault is not None), default=0.0)
        return Policy() if latest_s > SOON_S else Policy(stray_watch_s=SHORT_WATCH_S)

    @property
    def stops_work(self) -> bool:
        """Every charge point obeys a stop at once, and stays stopped."""
        quirks = [point.quirks for config in self.monta for point in config.points]
        obeyed = all(not q.stops_ignored and q.restarts_after_s is None for q in quirks)
        return obeyed and all(happening.what != "offline" for happening in self.happenings)

    def __str__(self) -> str:
        drawn = [
            f"{self.replicas} replicas",
            f"{len(self.monta)} operators",
            f"{len(self.payments)} payments",
        ]
        drawn += [
            f"operator {n} point {p.id}: {p.quirks}"
            for n, c in enumerate(self.monta)
            for p in c.points
            if p.quirks != Quirks()
        ]
        for name in (
            "rates",
            "search_lag_s",
            "webhook_loss",
            "forged",
            "webhooks_off",
            "outages",
            "happenings",
        ):
            if getattr(self, name) not in (0, None, (), Rates()):
                drawn.append(f"{name}: {getattr(self, name)}")
        return f"seed {self.seed}: " + "; ".join(drawn)


def draw(seed: int, under: "Sequence[Befall]" = ()) -> Plan:
    """The plan of a seed: a subset of the troubles each time, so that rare pairs meet too; `under` come on top."""
    rng = Random(f"plan {seed}")
    operators = 1 if rng.random() < 0.75 else 2
    monta = tuple(_monta(rng, seed, number) for number in range(operators))
    payments = tuple(_payment(rng, operators, number) for number in range(rng.choice((1, 1, 1, 1, 2, 3))))
    plan = Plan(seed=seed, replicas=rng.choice((1, 2, 2, 3)), monta=monta, payments=payments)
    for befall in rng.sample(TROUBLES, k=rng.choice((0, 1, 1, 1, 2, 2, 3))):
        plan = befall(rng, plan)
    for befall in under:
        plan = befall(rng, plan)
    return plan


def _monta(rng: Random, seed: int, number: int) -> SimulatorConfig:
    points = tuple(_point(rng, 11 + n) for n in range(POINTS))
    return SimulatorConfig(
        points=points,
        price_groups=PRICE_GROUPS,
        seed=seed,  # the same for both operators: their charges have the same ids
        client_id=f"client-{number}",
        paying_team_ids=(PAYING_TEAM,),
        webhook_cadence_s=rng.choice((2.0, 10.0, 10.0, 10.0)),
        completion_s=rng.choice(((2.0, 3.0), (10.0, 30.0))),
    )


def _point(rng: Random, point_id: int) -> PointConfig:
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


def _payment(rng: Random, operators: int, number: int) -> Payment:
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


# Troubles


def crashes(rng: Random, plan: Plan) -> Plan:
    return replace(plan, rates=replace(plan.rates, crash=rng.choice((0.005, 0.01, 0.03))))


def freezes(rng: Random, plan: Plan) -> Plan:
    rates = replace(plan.rates, freeze=rng.choice((0.005, 0.02, 0.04)))
    return replace(plan, rates=rates, longest_freeze_s=rng.choice((120.0, 120.0, 240.0)))


def lost_commits(rng: Random, plan: Plan) -> Plan:
    return replace(plan, rates=replace(plan.rates, lost_commit=rng.choice((0.02, 0.1))))


def lost_lines(rng: Random, plan: Plan) -> Plan:
    return replace(plan, rates=replace(plan.rates, lost_line=rng.choice((0.03, 0.1))))


def outage(rng: Random, plan: Plan) -> Plan:
    since = rng.uniform(0, 500)
    kind = rng.choice((Trouble.UNREACHABLE, Trouble.UNAVAILABLE, Trouble.THROTTLED, Trouble.ANSWER_LOST))
    path = rng.choice(("*", "/charges", "/charges/*", "/charges/*/stop"))
    length = rng.choice((30.0, 60.0, 120.0, 300.0, 600.0, 1800.0))
    outage = Outage(rng.randrange(len(plan.monta)), since, since + length, kind, path)
    return replace(plan, outages=(*plan.outages, outage), danger_s=max(plan.danger_s, outage.until_s + 60))


START_TROUBLES = (
    Trouble.REFUSED,
    Trouble.UNAVAILABLE,
    Trouble.REQUEST_LOST,
    Trouble.ANSWER_LOST,
    Trouble.FAILED_THOUGH_DONE,
    Trouble.LATE_EFFECT,
    Trouble.LATE_EFFECT,
    Trouble.SLOW,
    Trouble.TWICE,
    Trouble.WRAPPED,
    Trouble.WEBHOOK_FIRST,
)


def start_trouble(rng: Random, plan: Plan) -> Plan:
    trouble = rng.choice(START_TROUBLES)
    seconds = {
        Trouble.LATE_EFFECT: rng.choice((10.0, 45.0, 110.0, 300.0, 900.0)),
        Trouble.SLOW: rng.choice((5.0, 25.0, 40.0)),
    }.get(trouble, 0.0)
    return _with_quirk(plan, at_start=Fault(trouble, seconds))


def late_start(rng: Random, plan: Plan) -> Plan:
    """The start takes effect long after its answer was lost."""
    return _with_quirk(plan, at_start=Fault(Trouble.LATE_EFFECT, rng.choice((45.0, 110.0, 320.0, 500.0))))


def unanswered_start(_rng: Random, plan: Plan) -> Plan:
    return _with_quirk(plan, at_start=Fault(Trouble.ANSWER_LOST))


def garbled_start(_rng: Random, plan: Plan) -> Plan:
    """It is done, but a gateway answers 502."""
    return _with_quirk(plan, at_start=Fault(Trouble.FAILED_THOUGH_DONE))


def lost_starts(_rng: Random, plan: Plan) -> Plan:
    """No start ever arrives, and nobody says so."""
    return _with_quirk(plan, at_start=Fault(Trouble.REQUEST_LOST))


def refused_start(_rng: Random, plan: Plan) -> Plan:
    return _with_quirk(plan, at_start=Fault(Trouble.REFUSED))


def long_freezes(_rng: Random, plan: Plan) -> Plan:
    return replace(plan, rates=replace(plan.rates, freeze=0.06), longest_freeze_s=240.0)


def two_operators(rng: Random, plan: Plan) -> Plan:
    """Payments at both."""
    if len(plan.monta) == 1:
        plan = replace(plan, monta=(*plan.monta, _monta(rng, plan.seed, 1)))
    pair = [replace(plan.payments[0], operator=n, reference=f"A-pair-{n}", key=None) for n in (0, 1)]
    return replace(plan, payments=(*plan.payments, *pair))


def throttled_starts(rng: Random, plan: Plan) -> Plan:
    return _with_quirk(plan, throttled_starts=rng.choice((1, 3)))


def stops_ignored(rng: Random, plan: Plan) -> Plan:
    return _with_quirk(plan, stops_ignored=rng.choice((1, 3)), stop_without_trace=rng.random() < 0.5)


def limits_ignored(_rng: Random, plan: Plan) -> Plan:
    return _with_quirk(plan, limits_ignored=True)


def restart_by_others(rng: Random, plan: Plan) -> Plan:
    return _with_quirk(plan, restarts_after_s=rng.choice((4.0, 30.0)))


def meter_falls(rng: Random, plan: Plan) -> Plan:
    return _with_quirk(plan, meter_falls_at_sample=rng.choice((2, 3)))


def price_waived(_rng: Random, plan: Plan) -> Plan:
    return _with_quirk(plan, price_waived=True)


def ground_fault(rng: Random, plan: Plan) -> Plan:
    return _with_quirk(plan, fails_after_s=rng.uniform(20, 200))


def bad_webhooks(rng: Random, plan: Plan) -> Plan:
    webhooks = WebhookQuirks(
        lost=rng.random() < 0.3,
        late_s=rng.choice((0.0, 15.0, 90.0)),
        copies=rng.choice((1, 2, 3)),
        shuffled=rng.random() < 0.5,
    )
    return _with_quirk(plan, webhooks=webhooks)


def mute_webhooks(_rng: Random, plan: Plan) -> Plan:
    return _with_quirk(plan, webhooks=WebhookQuirks(lost=True))


def lossy_webhooks(rng: Random, plan: Plan) -> Plan:
    return replace(plan, webhook_loss=rng.choice((0.3, 0.9)))


def forger(rng: Random, plan: Plan) -> Plan:
    return replace(plan, forged=rng.choice((1, 5)))


def closed_webhooks(rng: Random, plan: Plan) -> Plan:
    since = rng.uniform(0, 300)
    return replace(plan, webhooks_off=(since, since + rng.choice((300.0, 1800.0))))


def slow_search(rng: Random, plan: Plan) -> Plan:
    return replace(plan, search_lag_s=rng.choice((10.0, 60.0)))


def happening(rng: Random, plan: Plan) -> Plan:
    payment = rng.choice(plan.payments)
    happenings = tuple(
        Happening(payment.at_s + rng.uniform(10, 500), payment.operator, payment.point, what)
        for what in rng.choice(
            (
                ("stop_button",),
                ("unplug",),
                ("force_stop",),
                ("pause", "resume"),
                ("local_start",),
                ("offline", "online"),
            )
        )
    )
    happenings = tuple(sorted(happenings, key=lambda h: h.at_s))
    names = [h.what for h in happenings]
    order = ("pause", "resume", "offline", "online")
    names = sorted(names, key=lambda name: order.index(name) if name in order else 0)
    happenings = tuple(replace(h, what=name) for h, name in zip(happenings, names, strict=True))
    return replace(plan, happenings=plan.happenings + happenings)


def second_card(rng: Random, plan: Plan) -> Plan:
    first = plan.payments[0]
    second = replace(
        first, reference="A-second", key=None, at_s=first.at_s + rng.uniform(-20, 60), hasty=False
    )
    return replace(plan, payments=(*plan.payments, second))


def impatience(_rng: Random, plan: Plan) -> Plan:
    """The terminal calls twice at once, does not wait for long, and repeats."""
    first, *others = plan.payments
    return replace(plan, payments=(replace(first, hasty=True, patience_s=3.0, repeats=2), *others))


def change_of_mind(rng: Random, plan: Plan) -> Plan:
    """The driver cancels at once, while the start is still under way."""
    first, *others = plan.payments
    after_s = rng.choice((0.0, rng.uniform(0, 5)))  # 0: while the start is being decided
    return replace(plan, payments=(replace(first, cancels_after_s=after_s, repeats=0), *others))


def top_up(rng: Random, plan: Plan) -> Plan:
    first, *others = plan.payments
    return replace(plan, payments=(replace(first, tops_up_after_s=rng.uniform(5, 400)), *others))


def _with_quirk(plan: Plan, **quirk: Any) -> Plan:
    """The charge point of the first payment gets it."""
    first = plan.payments[0]
    config = plan.monta[first.operator]
    points = tuple(
        replace(point, quirks=replace(point.quirks, **quirk)) if point.id == first.point else point
        for point in config.points
    )
    monta = list(plan.monta)
    monta[first.operator] = replace(config, points=points)
    return replace(plan, monta=tuple(monta))


Befall = Callable[[Random, Plan], Plan]
TROUBLES: tuple[Befall, ...] = (
    crashes,
    crashes,
    freezes,
    freezes,
    lost_commits,
    lost_lines,
    outage,
    outage,
    start_trouble,
    start_trouble,
    start_trouble,
    throttled_starts,
    stops_ignored,
    limits_ignored,
    restart_by_others,
    meter_falls,
    price_waived,
    ground_fault,
    bad_webhooks,
    lossy_webhooks,
    forger,
    closed_webhooks,
    slow_search,
    happening,
    second_card,
    impatience,
    change_of_mind,
    top_up,
)
