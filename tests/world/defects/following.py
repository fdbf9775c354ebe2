"""Defects in following a charge: reports, signatures, operators."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import select

from app.domain.charging.charge import Charge, ChargeReport, merge
from app.domain.limit.policy import Policy
from app.domain.session import reports
from app.domain.session.machine import Change, ReadCharge, Source, Step, Wait
from app.domain.session.payment_session import PaymentSession, Status
from app.flows.context import Context, monta_of
from app.flows.session import read_charge, start_charge, stop_charge
from app.flows.webhook import receive
from app.store.tables import payment_sessions as table
from tests.world.defects.planting import Defect, all_of, deciding, substitute
from tests.world.faults import monta, site


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


_FOLLOW = reports._follow


_MONTA_OF = monta_of


async def _somebody_elses_monta(context: Context, operator_id: Any) -> Any:
    """Mixes up the operators' clients."""
    async with context.database.transaction() as connection:
        found = (await connection.execute(select(table.c.operator_id))).scalars()
    others = sorted(set(found) - {operator_id})
    return await _MONTA_OF(context, others[0] if others else operator_id)


DEFECTS: tuple[Defect, ...] = (
    Defect(
        name="last write wins",
        plant=substitute(reports, "merge", _last_write_wins),
        under=(
            monta.muddled_webhooks,
            site.long_charge,
        ),
        noticed_in=2,
    ),
    Defect(
        name="the meter may fall",
        plant=substitute(reports, "merge", _meter_may_fall),
        under=(site.meter_falls,),
    ),
    Defect(name="no polling", plant=deciding(_never_reads)),
    Defect(
        name="any signature will do",
        plant=substitute(receive, "signature_is_valid", _any_signature),
        under=(monta.forger,),
    ),
    Defect(
        name="status goes back",
        plant=substitute(reports, "_follow", _steps_back),
        under=(
            site.restart_by_others,
            site.long_charge,
        ),
        noticed_in=8,
    ),
    Defect(
        name="operators mixed up",
        plant=all_of(
            *(
                substitute(flow, "monta_of", _somebody_elses_monta)
                for flow in (start_charge, read_charge, stop_charge)
            )
        ),
        under=(monta.two_operators,),
        noticed_in=14,
    ),
)
