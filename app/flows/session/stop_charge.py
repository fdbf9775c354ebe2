"""Stops a session's charge, and duplicate charges that no session pays for."""

from app.domain.session import monta_calls
from app.domain.session.machine import Change
from app.domain.session.payment_session import PaymentSession
from app.domain.units.ids import ChargeId
from app.flows.context import Context, commit, monta_of
from app.monta.errors import MontaError, refusal_of, retry_at_of
from app.store.sessions.leases import Lease


async def stop_charge(context: Context, lease: Lease, session: PaymentSession) -> None:
    """Sends one stop; the next one is planned already. 200 means accepted, a refusal may mean that it has ended."""
    if session.charge is None:
        return
    monta = await monta_of(context, session.operator_id, urgent=True)
    if lease.for_stop and lease.due_at is not None:
        context.telemetry.stop_sent((context.clock.now() - lease.due_at).total_seconds())
    try:
        report = await monta.stop_charge(session.charge.id)
    except MontaError as error:
        failed = error
        await commit(context, lease, lambda change: _stop_failed(context, change, failed), urgent=True)
        return
    await commit(
        context, lease, lambda change: monta_calls.stop_answered(change, report, context.policy), urgent=True
    )


async def stop_duplicate(
    context: Context, lease: Lease, session: PaymentSession, charge_id: ChargeId
) -> None:
    """Stops a duplicate charge; repeated until it has ended."""
    monta = await monta_of(context, session.operator_id, urgent=True)
    try:
        report = await monta.stop_charge(charge_id)
    except MontaError as error:
        failed = error
        await commit(
            context,
            lease,
            lambda change: _duplicate_stop_failed(context, change, charge_id, failed),
            urgent=True,
        )
        return
    await commit(
        context,
        lease,
        lambda change: monta_calls.duplicate_stop_answered(change, report, context.policy),
        urgent=True,
    )


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
