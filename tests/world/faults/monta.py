"""Faults of Monta: its API, its webhooks, its accounts."""

from dataclasses import replace
from random import Random

from app.simulator.faults.catalog import Fault, FaultKind, WebhookFaults
from tests.world.generate import draw_monta
from tests.world.plan import PRICE_CHANGES, Happening, Outage, Plan, with_fault


def outage(rng: Random, plan: Plan) -> Plan:
    since = rng.uniform(0, 500)
    kind = rng.choice(
        (
            FaultKind.UNREACHABLE,
            FaultKind.UNAVAILABLE,
            FaultKind.THROTTLED,
            FaultKind.ANSWER_LOST,
            FaultKind.SLOW,
        )
    )
    path = rng.choice(("*", "/charges", "/charges/*", "/charges/*/stop"))
    length = rng.choice((30.0, 60.0, 120.0, 300.0, 600.0, 1800.0))
    late_s = rng.choice((6.0, 15.0)) if kind is FaultKind.SLOW else 0.0
    outage = Outage(rng.randrange(len(plan.monta)), since, since + length, kind, path, late_s)
    return replace(plan, outages=(*plan.outages, outage), danger_s=max(plan.danger_s, outage.until_s + 60))


START_FAULTS = (
    FaultKind.REFUSED,
    FaultKind.UNAVAILABLE,
    FaultKind.REQUEST_LOST,
    FaultKind.ANSWER_LOST,
    FaultKind.FAILED_THOUGH_DONE,
    FaultKind.LATE_EFFECT,
    FaultKind.LATE_EFFECT,
    FaultKind.SLOW,
    FaultKind.TWICE,
    FaultKind.WRAPPED,
    FaultKind.WEBHOOK_FIRST,
)


def start_trouble(rng: Random, plan: Plan) -> Plan:
    fault_kind = rng.choice(START_FAULTS)
    seconds = {
        FaultKind.LATE_EFFECT: rng.choice((10.0, 45.0, 110.0, 300.0, 900.0)),
        FaultKind.SLOW: rng.choice((5.0, 25.0, 40.0)),
    }.get(fault_kind, 0.0)
    return with_fault(plan, at_start=Fault(fault_kind, seconds))


def late_start(rng: Random, plan: Plan) -> Plan:
    """The start takes effect long after its answer was lost."""
    return with_fault(plan, at_start=Fault(FaultKind.LATE_EFFECT, rng.choice((45.0, 110.0, 320.0, 500.0))))


def very_late_start(rng: Random, plan: Plan) -> Plan:
    """After the hold was released."""
    return with_fault(plan, at_start=Fault(FaultKind.LATE_EFFECT, rng.choice((320.0, 500.0))))


def slow_start(_rng: Random, plan: Plan) -> Plan:
    """Done at once, but answered later than any client waits."""
    return with_fault(plan, at_start=Fault(FaultKind.SLOW, 40.0))


def unanswered_start(_rng: Random, plan: Plan) -> Plan:
    return with_fault(plan, at_start=Fault(FaultKind.ANSWER_LOST))


def garbled_start(_rng: Random, plan: Plan) -> Plan:
    """It is done, but a gateway answers 502."""
    return with_fault(plan, at_start=Fault(FaultKind.FAILED_THOUGH_DONE))


def lost_starts(_rng: Random, plan: Plan) -> Plan:
    """No start ever arrives, without an error."""
    return with_fault(plan, at_start=Fault(FaultKind.REQUEST_LOST))


def refused_start(_rng: Random, plan: Plan) -> Plan:
    return with_fault(plan, at_start=Fault(FaultKind.REFUSED))


def throttled_starts(rng: Random, plan: Plan) -> Plan:
    return with_fault(plan, throttled_starts=rng.choice((1, 3)))


def slow_search(rng: Random, plan: Plan) -> Plan:
    return replace(plan, search_lag_s=rng.choice((10.0, 60.0)))


def bad_webhooks(rng: Random, plan: Plan) -> Plan:
    webhooks = WebhookFaults(
        lost=rng.random() < 0.3,
        late_s=rng.choice((0.0, 15.0, 90.0)),
        copies=rng.choice((1, 2, 3)),
        shuffled=rng.random() < 0.5,
    )
    return with_fault(plan, webhooks=webhooks)


def muddled_webhooks(_rng: Random, plan: Plan) -> Plan:
    """In any order, up to a minute and a half late."""
    return with_fault(plan, webhooks=WebhookFaults(late_s=90.0, copies=2, shuffled=True))


def mute_webhooks(_rng: Random, plan: Plan) -> Plan:
    return with_fault(plan, webhooks=WebhookFaults(lost=True))


def lossy_webhooks(rng: Random, plan: Plan) -> Plan:
    return replace(plan, webhook_loss=rng.choice((0.3, 0.9)))


def forger(rng: Random, plan: Plan) -> Plan:
    return replace(plan, forged=rng.choice((1, 5)))


def closed_webhooks(rng: Random, plan: Plan) -> Plan:
    since = rng.uniform(0, 300)
    return replace(plan, webhooks_off=(since, since + rng.choice((300.0, 1800.0))))


def price_waived(_rng: Random, plan: Plan) -> Plan:
    return with_fault(plan, price_waived=True)


def two_operators(rng: Random, plan: Plan) -> Plan:
    """Payments at both."""
    if len(plan.monta) == 1:
        plan = replace(plan, monta=(*plan.monta, draw_monta(rng, plan.seed, 1)))
    pair = [replace(plan.payments[0], operator=n, reference=f"A-pair-{n}", key=None) for n in (0, 1)]
    return replace(plan, payments=(*plan.payments, *pair))


def low_quota(rng: Random, plan: Plan) -> Plan:
    """Fewer requests in ten minutes than were agreed."""
    limit = rng.choice((30, 80, 150))
    return replace(plan, monta=tuple(replace(config, rate_limit=limit) for config in plan.monta))


def scarce_quota(_rng: Random, plan: Plan) -> Plan:
    return replace(plan, monta=tuple(replace(config, rate_limit=30) for config in plan.monta))


def price_change(rng: Random, plan: Plan) -> Plan:
    """Changes the price of a kWh before, between or after two payments of its charge point."""
    payment = rng.choice(plan.payments)
    what = rng.choice(tuple(PRICE_CHANGES))
    change = Happening(payment.at_s + rng.uniform(-30, 200), payment.operator, payment.point, what)
    return replace(plan, happenings=(*plan.happenings, change))
