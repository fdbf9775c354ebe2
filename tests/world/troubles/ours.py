"""What befalls us: our processes, our database, our line to Monta."""

from dataclasses import replace
from random import Random

from tests.world.plan import Plan


def crashes(rng: Random, plan: Plan) -> Plan:
    return replace(plan, rates=replace(plan.rates, crash=rng.choice((0.005, 0.01, 0.03))))


def freezes(rng: Random, plan: Plan) -> Plan:
    rates = replace(plan.rates, freeze=rng.choice((0.005, 0.02, 0.04)))
    return replace(plan, rates=rates, longest_freeze_s=rng.choice((120.0, 120.0, 240.0)))


def long_freezes(_rng: Random, plan: Plan) -> Plan:
    return replace(plan, rates=replace(plan.rates, freeze=0.06), longest_freeze_s=240.0)


def lost_commits(rng: Random, plan: Plan) -> Plan:
    return replace(plan, rates=replace(plan.rates, lost_commit=rng.choice((0.02, 0.1))))


def lost_lines(rng: Random, plan: Plan) -> Plan:
    return replace(plan, rates=replace(plan.rates, lost_line=rng.choice((0.03, 0.1))))
