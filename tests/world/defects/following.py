"""Defects in following a charge: reports, signatures, operators."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import select

from app.domain import progress
from app.domain.change import Change, Source
from app.domain.charge import Charge, ChargeReport, merge
from app.domain.payment_session import PaymentSession, Status
from app.domain.policy import Policy
from app.domain.steps import ReadCharge, Step, Wait
from app.flows import enforce, start, tools, track
from app.flows.tools import Tools
from app.store.tables import payment_sessions as table
from tests.world.defects.planting import Defect, all_of, deciding, substitute
from tests.world.troubles import monta, people


def _last_write_wins(known: Charge | None, report: ChargeReport, *, by_rest: bool) -> Charge:
    return merge(None, report, by_rest=by_rest)


def _meter_may_fall(known: Charge | None, report: ChargeReport, *, by_rest: bool) -> Charge:
    merged = merge(known, report, by_rest=by_rest)
    return replace(merged, energy_wh=merged.latest.energy_wh or 0)


def _never_reads(step: Step, session: PaymentSession, policy: Policy, now: datetime) -> Step:
    return Wait(None) if isinstance(step, ReadCharge) else step


def _any_signature(secret: str, body: bytes, header: str | None) -> bool:
    return True


def _steps_back(change: Change, source: Source, *, restarted: bool) -> Change:
    """A restarted charge brings the session back to `charging`."""
    followed = _FOLLOW(change, source, restarted=restarted)
    back = restarted and not followed.session.ended
    return followed.to(replace(followed.session, status=Status.CHARGING)) if back else followed


_FOLLOW = progress._follow


_MONTA_OF = tools.monta_of


async def _somebody_elses_monta(tools: Tools, operator_id: Any) -> Any:
    """The clients of the operators are mixed up."""
    async with tools.database.transaction() as connection:
        found = (await connection.execute(select(table.c.operator_id))).scalars().all()
    others = sorted(set(found) - {operator_id})
    return await _MONTA_OF(tools, others[0] if others else operator_id)


DEFECTS: tuple[Defect, ...] = (
    Defect(
        name="last write wins",
        plant=substitute(progress, "merge", _last_write_wins),
        under=(
            monta.muddled_webhooks,
            people.long_charge,
        ),
    ),
    Defect(
        name="the meter may fall",
        plant=substitute(progress, "merge", _meter_may_fall),
        under=(people.meter_falls,),
    ),
    Defect(name="no polling", plant=deciding(_never_reads)),
    Defect(
        name="any signature will do",
        plant=substitute(track, "signature_is_valid", _any_signature),
        under=(monta.forger,),
    ),
    Defect(
        name="status goes back",
        plant=substitute(progress, "_follow", _steps_back),
        under=(
            people.restart_by_others,
            people.long_charge,
        ),
    ),
    Defect(
        name="operators mixed up",
        plant=all_of(
            *(substitute(flow, "monta_of", _somebody_elses_monta) for flow in (start, track, enforce))
        ),
        under=(monta.two_operators,),
    ),
)
