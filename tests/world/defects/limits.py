"""Defects in what the limit of a session keeps back, and in the amounts that it rests on."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from app.domain.charging.charge import ChargeReport, PriceUnit
from app.domain.limit.policy import Policy
from app.domain.session import limit
from app.domain.session.payment_session import PaymentSession
from app.flows import ingest
from app.flows.session import advance
from app.flows.terminal import top_up as top_up_flow
from app.flows.webhook import receive
from app.monta.webhook import Delivery, read_delivery
from app.store.sessions.inbox import PendingEntry
from tests.world.defects.planting import Defect, all_of, substitute
from tests.world.faults import monta, site

_PLAN, _CHECK = limit._plan, top_up_flow._check
_REPORT_OF = ingest.report_of


def _without_reserve(session: PaymentSession, *rest: Any) -> Any:
    """Plans as if a cable that is left in cost nothing."""
    limits = session.monta_limits
    kept = None if limits is None else replace(limits, idle_fee_reserve_minor=0)
    return _PLAN(replace(session, monta_limits=kept), *rest)


def _from_the_first_hold(session: PaymentSession, more: Any) -> None:
    """Forgets earlier top-ups in the ceiling."""
    _CHECK(replace(session, top_ups=()), more)


def _always_major(item: PendingEntry, _unit: PriceUnit) -> ChargeReport | None:
    """Forgets the operator's unit of prices."""
    return _REPORT_OF(item, PriceUnit.MAJOR)


def _read_as_major(body: bytes, seen_at: datetime, **_unit: Any) -> Delivery:
    """The same for the reports that are applied as they are kept."""
    return read_delivery(body, seen_at)


DEFECTS: tuple[Defect, ...] = (
    Defect(
        name="no reserve for idle fees in the plan",
        plant=substitute(limit, "_plan", _without_reserve),
        under=(site.worst_case,),
    ),
    Defect(name="no time to react in the plan", policy=Policy(reaction_s=0), under=(site.worst_case,)),
    Defect(
        name="top-ups forget earlier ones",
        plant=substitute(top_up_flow, "_check", _from_the_first_hold),
        under=(site.top_ups_beyond_the_ceiling,),
    ),
    Defect(
        name="the unit of prices is lost in webhooks",
        plant=all_of(
            substitute(receive, "read_delivery", _read_as_major),
            substitute(advance, "report_of", _always_major),
        ),
        under=(monta.minor_units,),
    ),
)
