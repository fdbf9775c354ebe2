"""Faults at the site: hardware, drivers and their cards."""

from dataclasses import replace
from random import Random

from app.domain.limit.policy import Policy
from app.simulator.config import Driver
from app.simulator.faults.catalog import PointFaults
from tests.world.generate import IDLE_FEE_GROUP, draw_point
from tests.world.plan import TOP_UP, TOP_UPS_TAKEN, Happening, Payment, Plan, with_fault

POLICY = Policy()
WORST_LATENCY_S = POLICY.stop_latency_s * POLICY.unknown_latency_factor
IDLE_RESERVE_S = float(POLICY.idle_reserve_s)
SLOW_LINE_S = POLICY.reaction_s - 0.05
"""Just within what our own stop allows for."""
STRONG_CAR = "Hyundai Ioniq 5"
"""It takes 150 kW and more from 10 % on."""


def stops_ignored(rng: Random, plan: Plan) -> Plan:
    return with_fault(plan, stops_ignored=rng.choice((1, 3)), stop_without_trace=rng.random() < 0.5)


def deaf_charge_point(_rng: Random, plan: Plan) -> Plan:
    """Neither Monta's limits nor a dozen stops reach it."""
    return with_fault(plan, limits_ignored=True, stops_ignored=12, at_start=None)


def limits_ignored(_rng: Random, plan: Plan) -> Plan:
    return with_fault(plan, limits_ignored=True)


def restart_by_others(rng: Random, plan: Plan) -> Plan:
    return with_fault(plan, restarts_after_s=rng.choice((4.0, 30.0)))


def meter_falls(rng: Random, plan: Plan) -> Plan:
    return with_fault(plan, meter_falls_at_sample=rng.choice((2, 3)))


def ground_fault(rng: Random, plan: Plan) -> Plan:
    return with_fault(plan, fails_after_s=rng.uniform(20, 200))


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
    after_s = rng.uniform(5, 400)
    times = 1 if after_s < 200 else TOP_UPS_TAKEN + 1
    totals = (
        (after_s / 10, first.amount + TOP_UP),
        (after_s / 4, first.amount * 2 // 3),
        (1.0, first.amount),
    )
    first = replace(first, tops_up_after_s=after_s, top_ups=times, totals=totals)
    return replace(plan, payments=(first, *others))


def top_ups_beyond_the_ceiling(_rng: Random, plan: Plan) -> Plan:
    """One more at once than the operator's ceiling leaves room for."""
    first, *others = plan.payments
    first = replace(
        first, tops_up_after_s=1.0, top_ups=TOP_UPS_TAKEN + 1, cancels_after_s=None, vanishes=False
    )
    return replace(plan, payments=(first, *others))


def hold_lowered(rng: Random, plan: Plan) -> Plan:
    """The PSP lowers the hold while the charge runs: the less, the later."""
    first, *others = plan.payments
    after_s, part = rng.uniform(1, 90), rng.choice((0.3, 0.5, 0.7, 0.9))
    totals = ((after_s, int(first.amount * part)), (after_s, first.amount // 4))
    first = replace(first, totals=totals, cancels_after_s=None, vanishes=False)
    return replace(plan, payments=(first, *others))


def hold_lowered_too_far(_rng: Random, plan: Plan) -> Plan:
    """To next to nothing, after minutes of charging."""
    first, *others = plan.payments
    first = replace(first, totals=((150.0, 100),), cancels_after_s=None, vanishes=False)
    return replace(plan, payments=(first, *others))


def outsiders(_rng: Random, plan: Plan) -> Plan:
    """Other terminals and other operators use what they know of the sessions."""
    return replace(plan, outsiders=40)


def long_charge(_rng: Random, plan: Plan) -> Plan:
    """An authorization above what this car can use within half an hour."""
    first, *others = plan.payments
    return replace(plan, payments=(replace(first, amount=9000, cancels_after_s=None), *others))


def worst_case(rng: Random, plan: Plan) -> Plan:
    """All that our own stop must allow for, at once: the charger's full power from the first second on, the longest
    latency of a stop, a slow connection, a cable that is left in where that costs money."""
    first, config = plan.payments[0], plan.monta[plan.payments[0].operator]
    driver = Driver(vehicle=STRONG_CAR, soc_percent=10.0, unplugs_after_stop_s=IDLE_RESERVE_S - 2)
    points = tuple(
        replace(
            point,
            max_w=150_000,
            price_group_id=rng.choice((25, IDLE_FEE_GROUP.id)),
            meter_interval_s=30.0,
            meter_step_wh=None,
            ramp_s=0.0,
            stop_latency_s=WORST_LATENCY_S,
            driver=driver,
            faults=PointFaults(limits_ignored=True),
        )
        if point.id == first.point
        else point
        for point in config.points
    )
    monta = tuple(replace(each, points=points) if each is config else each for each in plan.monta)
    paid = replace(first, amount=rng.choice((500, 800)), cancels_after_s=None, tops_up_after_s=None)
    return replace(plan, monta=monta, payments=(paid, *plan.payments[1:]), line_s=SLOW_LINE_S)


def full_house(rng: Random, plan: Plan) -> Plan:
    """Five long charges at once: silent ones are then read by sweeps, many with one call. Not in every plan, since
    such a world takes as long as five others."""
    if rng.random() < 0.6:
        return plan
    config, *others = plan.monta
    points = tuple(draw_point(rng, number) for number in range(11 + len(config.points), 16))
    places = (*config.points, *points)
    drawn = {payment.point: payment.hold_s for payment in plan.payments if payment.operator == 0}
    payments = tuple(
        Payment(
            at_s=rng.uniform(1, 60),
            operator=0,
            point=place.id,
            amount=1500,
            reference=f"A-full-{place.id}",
            hold_s=drawn.get(place.id),
        )
        for place in places
    )
    return replace(plan, monta=(replace(config, points=places), *others), payments=payments)
