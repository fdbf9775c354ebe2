"""Faults of our side: our processes, our database, our connection to Monta."""

from dataclasses import replace
from random import Random

from tests.world.plan import Plan, with_fault


def crashes(rng: Random, plan: Plan) -> Plan:
    return replace(plan, rates=replace(plan.rates, crash=rng.choice((0.005, 0.01, 0.03))))


def freezes(rng: Random, plan: Plan) -> Plan:
    rates = replace(plan.rates, freeze=rng.choice((0.005, 0.02, 0.04)))
    return replace(plan, rates=rates, longest_freeze_s=rng.choice((120.0, 120.0, 240.0)))


def long_freezes(_rng: Random, plan: Plan) -> Plan:
    return replace(plan, rates=replace(plan.rates, freeze=0.06), longest_freeze_s=240.0)


def stalls(_rng: Random, plan: Plan) -> Plan:
    """Frozen between deciding and sending, mostly for longer than a lease; another replica takes over."""
    rates = replace(plan.rates, stall=0.3)
    return replace(plan, rates=rates, longest_freeze_s=480.0, replicas=max(2, plan.replicas))


def short_stalls(_rng: Random, plan: Plan) -> Plan:
    """Freeze between deciding and sending for about as long as the send guard lasts."""
    rates = replace(plan.rates, stall=0.5)
    return replace(plan, rates=rates, shortest_freeze_s=4.2, longest_freeze_s=4.9)


def lost_commits(rng: Random, plan: Plan) -> Plan:
    return replace(plan, rates=replace(plan.rates, lost_commit=rng.choice((0.02, 0.1))))


def many_lost_commits(_rng: Random, plan: Plan) -> Plan:
    return replace(plan, rates=replace(plan.rates, lost_commit=0.5))


def lost_lines(rng: Random, plan: Plan) -> Plan:
    return replace(plan, rates=replace(plan.rates, lost_line=rng.choice((0.03, 0.1))))


def hang_ups(rng: Random, plan: Plan) -> Plan:
    """Clients disconnect, and their request's handler is cancelled at any point."""
    return replace(plan, rates=replace(plan.rates, hang_up=rng.choice((0.05, 0.2))))


def lock_waits(rng: Random, plan: Plan) -> Plan:
    """Transactions keep their locks while others go on."""
    rates = replace(plan.rates, lock_wait=rng.choice((0.05, 0.2)))
    return replace(plan, rates=rates, replicas=max(2, plan.replicas))


def restored_backup(rng: Random, plan: Plan) -> Plan:
    """The database is lost, and what comes back is minutes old."""
    backup_s = rng.uniform(1, 300)
    restored_s = backup_s + rng.uniform(400, 900)
    return replace(plan, restored=(backup_s, restored_s), danger_s=max(plan.danger_s, restored_s + 120))


def backup_of_a_beginning(rng: Random, plan: Plan) -> Plan:
    """The backup is made while Monta temporarily refuses the first start; the start that followed is lost."""
    payment, *others = plan.payments
    plan = replace(plan, payments=(replace(payment, cancels_after_s=None), *others))
    restored_s = payment.at_s + rng.uniform(400, 600)
    plan = with_fault(plan, throttled_starts=1, at_start=None)
    return replace(
        plan, restored=(payment.at_s + 2, restored_s), danger_s=max(plan.danger_s, restored_s + 120)
    )
