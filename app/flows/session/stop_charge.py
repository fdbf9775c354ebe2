"""Stops a session's charge, and duplicate charges that no session pays for."""

from app.domain.session import monta_calls
from app.domain.session.machine import Change
from app.domain.session.payment_session import PaymentSession
from app.domain.units.ids import ChargeId
from app.flows.context import Context, monta_of
from app.flows.turns import Edit
from app.monta.errors import MontaError, refusal_of, retry_at_of
from app.store.sessions.leases import Lease


async def stop_charge(context: Context, lease: Lease, session: PaymentSession) -> Edit:
    """Sends one stop; the next one is planned already. 200 means accepted, a refusal may mean that it has ended."""
    assert session.charge is not None, "a stop is decided for a charge"
    monta = await monta_of(context, session.operator_id, urgent=True)
    if lease.for_stop and lease.due_at is not None:
        context.telemetry.stop_sent((context.clock.now() - lease.due_at).total_seconds())
    try:
        report = await monta.stop_charge(session.charge.id)
    except MontaError as error:
        failed = error
        return lambda change: _stop_failed(context, change, failed)
    return lambda change: monta_calls.stop_answered(change, report, context.policy)


async def stop_duplicate(context: Context, session: PaymentSession, charge_id: ChargeId) -> Edit:
    """Stops a duplicate charge; repeated until it has ended."""
    monta = await monta_of(context, session.operator_id, urgent=True)
    try:
        report = await monta.stop_charge(charge_id)
    except MontaError as error:
        failed = error
        return lambda change: _duplicate_stop_failed(context, change, charge_id, failed)
    return lambda change: monta_calls.duplicate_stop_answered(change, report, context.policy)


def _stop_failed(context: Context, change: Change, error: MontaError) -> Change:
    return monta_calls.stop_failed(
        change,
        str(error),
        now=context.clock.now(),
        not_before=retry_at_of(error),
        status=refusal_of(error),
    )


def _duplicate_stop_failed(
    context: Context, change: Change, charge_id: ChargeId, error: MontaError
) -> Change:
    return monta_calls.duplicate_stop_failed(
        change,
        charge_id,
        str(error),
        now=context.clock.now(),
        not_before=retry_at_of(error),
        policy=context.policy,
        status=refusal_of(error),
    )
