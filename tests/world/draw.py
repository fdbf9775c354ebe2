"""Draws a seed's plan: payments, and a subset of the faults."""

from collections.abc import Sequence
from random import Random

from tests.world.faults import FAULTS, Befall
from tests.world.generate import draw_monta, draw_payment
from tests.world.plan import Plan


def draw(seed: int, under: Sequence[Befall] = ()) -> Plan:
    """Draws the plan of a seed: a different subset of the faults each time, so that rare pairs occur too; `under`
    is added."""
    rng = Random(f"plan {seed}")
    operators = 1 if rng.random() < 0.75 else 2
    monta = tuple(draw_monta(rng, seed, number) for number in range(operators))
    payments = tuple(draw_payment(rng, operators, number) for number in range(rng.choice((1, 1, 1, 1, 2, 3))))
    plan = Plan(seed=seed, replicas=rng.choice((1, 2, 2, 3)), monta=monta, payments=payments)
    for befall in rng.sample(FAULTS, k=rng.choice((0, 1, 1, 1, 2, 2, 3))):
        plan = befall(rng, plan)
    for befall in under:
        plan = befall(rng, plan)
    return plan
