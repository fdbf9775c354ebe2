"""Reads a charge from Monta, unless a stop falls due first."""

import asyncio
from collections.abc import Coroutine

from app.domain.charging.charge import ChargeReport
from app.domain.session import late_facts, monta_calls
from app.domain.session.limit import limit_at
from app.domain.session.machine import Change
from app.domain.session.payment_session import PaymentSession
from app.domain.units.ids import ChargeId
from app.flows.context import Context, monta_of
from app.flows.turns import Edit
from app.monta.errors import MontaError, refusal_of, retry_at_of
from app.monta.ports import Purpose

NOT_FOUND = 404


class StopIsDue(Exception):
    """A read was cancelled because a stop fell due."""


async def read_charge(context: Context, session: PaymentSession, charge_id: ChargeId) -> Edit:
    """Reads the charge, urgently when a stop depends on it. Then with a start's share of the rate budget."""
    monta = await monta_of(context, session.operator_id)
    purpose = Purpose.START if session.stop is not None and not session.ended else Purpose.READ
    try:
        report = await _in_time(context, session, monta.get_charge(charge_id, purpose=purpose))
    except StopIsDue as due:
        why, cut_at = str(due), context.clock.now()
        return lambda change: monta_calls.read_cut_short(change, why, now=cut_at)
    except MontaError as error:
        failed = error
        return lambda change: _read_failed(context, change, failed)
    read_at = context.clock.now()
    return lambda change: monta_calls.read(change, report, now=read_at, policy=context.policy)


async def _in_time(
    context: Context, session: PaymentSession, reading: Coroutine[None, None, ChargeReport]
) -> ChargeReport:
    """Returns the answer, unless a stop falls due first. No stop waits for a slow read. Raises StopIsDue."""
    charge = session.charge
    if charge is None or charge.ended or session.ended or session.stop is not None:
        return await reading
    limit = limit_at(session, charge, context.policy)
    left_s = None if limit is None else (limit - context.clock.now()).total_seconds()
    try:
        # Real seconds, since this waits for the network.
        async with asyncio.timeout(None if left_s is None else max(context.policy.least_read_s, left_s)):
            return await reading
    except TimeoutError:
        raise StopIsDue("the stop fell due before Monta answered") from None


def _read_failed(context: Context, change: Change, error: MontaError) -> Change:
    change = monta_calls.read_failed(
        change,
        str(error),
        now=context.clock.now(),
        not_before=retry_at_of(error),
        policy=context.policy,
        status=refusal_of(error),
    )
    gone = change.session.ended and refusal_of(error) == NOT_FOUND
    return late_facts.record_gone(change) if gone else change
