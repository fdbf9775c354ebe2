"""Faults at the site: hardware, drivers and their cards."""

from dataclasses import replace
from random import Random

from tests.world.generate import draw_point
from tests.world.plan import Happening, Payment, Plan, with_fault


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
    return replace(plan, payments=(replace(first, tops_up_after_s=rng.uniform(5, 400)), *others))


def long_charge(_rng: Random, plan: Plan) -> Plan:
    """An authorization above what this car can use within half an hour."""
    first, *others = plan.payments
    return replace(plan, payments=(replace(first, amount=9000, cancels_after_s=None), *others))


def full_house(rng: Random, plan: Plan) -> Plan:
    """Five long charges at once: silent ones are then read by sweeps, many with one call. Not in every plan, since
    such a world takes as long as five others."""
    if rng.random() < 0.6:
        return plan
    config, *others = plan.monta
    points = tuple(draw_point(rng, number) for number in range(11 + len(config.points), 16))
    places = (*config.points, *points)
    payments = tuple(
        Payment(
            at_s=rng.uniform(1, 60), operator=0, point=place.id, amount=1500, reference=f"A-full-{place.id}"
        )
        for place in places
    )
    return replace(plan, monta=(replace(config, points=places), *others), payments=payments)
