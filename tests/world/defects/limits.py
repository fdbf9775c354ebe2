"""Defects in what the limit of a session keeps back, and in the amounts that it rests on."""

from dataclasses import replace
from typing import Any

from app.domain.limit.policy import Policy
from app.domain.session import limit
from app.domain.session.payment_session import PaymentSession
from app.flows.terminal import top_up as top_up_flow
from tests.world.defects.planting import Defect, substitute
from tests.world.faults import site

_PLAN, _CHECK = limit._plan, top_up_flow._check_total


def _without_reserve(session: PaymentSession, *rest: Any) -> Any:
    """Plans as if a cable that is left in cost nothing."""
    limits = session.monta_limits
    kept = None if limits is None else replace(limits, idle_fee_reserve_minor=0)
    return _PLAN(replace(session, monta_limits=kept), *rest)


def _from_the_first_hold(session: PaymentSession, wanted_minor: int, policy: Policy, **more: Any) -> None:
    """Forgets earlier top-ups in the ceiling."""
    _CHECK(session, wanted_minor - sum(t.present_minor for t in session.top_ups), policy, **more)


def _whatever_was_used(*_: Any) -> bool:
    """Lowers a hold as if nothing had been used of it."""
    return False


DEFECTS: tuple[Defect, ...] = (
    Defect(
        name="no reserve for idle fees in the plan",
        plant=substitute(limit, "_plan", _without_reserve),
        under=(site.worst_case,),
    ),
    Defect(
        name="no time to react in the plan",
        policy=Policy(reaction_s=0),
        under=(site.worst_case,),
        noticed_in=3,
    ),
    Defect(
        name="top-ups forget earlier ones",
        plant=substitute(top_up_flow, "_check_total", _from_the_first_hold),
        under=(site.top_ups_beyond_the_ceiling,),
        noticed_in=2,
    ),
    Defect(
        name="a hold is lowered below what was used",
        plant=substitute(top_up_flow, "may_use_more", _whatever_was_used),
        under=(site.worst_case, site.hold_lowered_too_far),
        noticed_in=3,
    ),
)
