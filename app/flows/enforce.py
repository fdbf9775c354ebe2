"""Stopping a charge: our own at its limit or on request, and charges of ours that nobody pays for."""

from app.domain import attempts
from app.domain.change import Change
from app.domain.ids import ChargeId
from app.domain.payment_session import PaymentSession
from app.flows.tools import Tools, commit, monta_of
from app.monta.errors import MontaError, refusal_of, retry_at_of
from app.store.leases import Lease


async def stop(tools: Tools, lease: Lease, session: PaymentSession) -> None:
    """Send one stop; the next one is planned already. 200 means accepted, a refusal may mean that it has ended."""
    if session.charge is None:
        return
    monta = await monta_of(tools, session.operator_id)
    try:
        report = await monta.stop_charge(session.charge.id)
    except MontaError as error:
        failed = error
        await commit(tools, lease, lambda change: _stop_failed(tools, change, failed))
        return
    await commit(tools, lease, lambda change: attempts.stop_answered(change, report, tools.policy))


async def stop_extra(tools: Tools, lease: Lease, session: PaymentSession, charge_id: ChargeId) -> None:
    """Stop a charge of ours that the session did not adopt; repeated until it is seen to have ended."""
    monta = await monta_of(tools, session.operator_id)
    try:
        report = await monta.stop_charge(charge_id)
    except MontaError as error:
        failed = error
        await commit(tools, lease, lambda change: _extra_stop_failed(tools, change, charge_id, failed))
        return
    await commit(tools, lease, lambda change: attempts.extra_stop_answered(change, report, tools.policy))


def _stop_failed(tools: Tools, change: Change, error: MontaError) -> Change:
    return attempts.stop_failed(
        change,
        str(error),
        now=tools.clock.now(),
        not_before=retry_at_of(error),
        status=refusal_of(error),
    )


def _extra_stop_failed(tools: Tools, change: Change, charge_id: ChargeId, error: MontaError) -> Change:
    return attempts.extra_stop_failed(
        change,
        charge_id,
        str(error),
        now=tools.clock.now(),
        not_before=retry_at_of(error),
        policy=tools.policy,
        status=refusal_of(error),
    )
