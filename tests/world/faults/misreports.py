"""Wrong values in Monta's records, and terminals with wrong clocks."""

from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

from app.simulator.faults.catalog import Misreport
from tests.world.plan import Plan, with_fault

HOLD_S = 3600.0
"""Validity of the hold of a payment at a misreporting charge point: unresolvable prices are settled by then."""
DAY_S = 86_400.0


def _with(plan: Plan, **misreport: Any) -> Plan:
    first = plan.payments[0]
    plan = with_fault(plan, misreport=Misreport(**misreport))
    payments = tuple(
        replace(p, hold_s=HOLD_S) if (p.operator, p.point) == (first.operator, first.point) else p
        for p in plan.payments
    )
    return replace(plan, payments=payments)


def wrong_clock_at_monta(rng: Random, plan: Plan) -> Plan:
    offset_s = rng.choice((-30 * DAY_S, -DAY_S, -600.0, -121.0, 300.0, DAY_S))
    return with_fault(plan, misreport=Misreport(clock_offset_s=offset_s))


def wrong_clock_at_the_terminal(rng: Random, plan: Plan) -> Plan:
    """Its `authorized_at` is years or minutes off."""
    offset_s = rng.choice((-20_000 * DAY_S, -7 * DAY_S, -3600.0, 3600.0, 400 * DAY_S))
    return replace(plan, payments=tuple(replace(p, clock_off_s=offset_s) for p in plan.payments))


def lifetime_reading(rng: Random, plan: Plan) -> Plan:
    return _with(plan, lifetime_reading=True, lifetime_while_running=rng.random() < 0.3)


def gone(rng: Random, plan: Plan) -> Plan:
    return _with(plan, gone_after_s=rng.choice((1.0, 30.0, 120.0, 400.0)))


def endless_state(rng: Random, plan: Plan) -> Plan:
    """An unknown state word, or one that should soon pass."""
    word = rng.choice(("suspended_grid", "suspended_grid", "stopping", "releasing", "paying", "other"))
    return _with(plan, state_word=word, state_word_after_s=rng.choice((0.0, 30.0, 200.0)))


def negative_price(rng: Random, plan: Plan) -> Plan:
    return _with(plan, final_price=Decimal(rng.choice(("-0.01", "-0.35", "-500"))))


def foreign_currency(rng: Random, plan: Plan) -> Plan:
    return _with(plan, currency=rng.choice(("dkk", "sek", "xyz")))
