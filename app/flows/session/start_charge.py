"""Starts a charge with one guarded POST, and searches for it when its outcome is unknown."""

from datetime import timedelta

import structlog

from app.domain.charging.charge import ChargeReport
from app.domain.limit.monta_limits import MontaLimits
from app.domain.limit.policy import backoff_s
from app.domain.session import monta_calls
from app.domain.session.machine import Change
from app.domain.session.payment_session import PaymentSession
from app.domain.session.reports import apply_search_result
from app.flows.context import Context, OperatorMissing, commit, monta_of
from app.monta.client import MontaClient
from app.monta.errors import MontaError, NotDone, NotSent, Refused, retry_at_of
from app.monta.objects import StartCharge
from app.store.operators import charge_points, operator_state, terminals
from app.store.operators.operators import Operator
from app.store.sessions.leases import Lease

log = structlog.get_logger("start")


async def start_charge(
    context: Context, lease: Lease, session: PaymentSession, *, decided_at_s: float
) -> None:
    """Starts the charge: sends the committed intent's POST within its guard, and commits the outcome. `decided_at_s`:
    the intent's monotonic time."""
    monta = await monta_of(context, session.operator_id)
    request, operator = await _request(context, session)
    guard_ends_s = decided_at_s + context.policy.send_guard_s
    try:
        report = await monta.start_charge(
            request, still_allowed=lambda: context.clock.monotonic() <= guard_ends_s
        )
    except MontaError as error:
        failed = error
        await commit(context, lease, lambda change: _not_accepted(context, change, failed))
        return
    started = await commit(
        context, lease, lambda change: monta_calls.start_accepted(change, report, context.policy)
    )
    if started.charge is not None:
        await _note_clock(context, operator, started)
    if session.power_bound_w is None:
        await _learn_charge_point(context, monta, session)


async def search_charges(context: Context, lease: Lease, session: PaymentSession) -> None:
    """Searches by our reference over all pages. An empty answer counts from the moment of the request."""
    overdue_since = context.clock.now()
    monta = await monta_of(context, session.operator_id)
    try:
        reports: tuple[ChargeReport, ...] = await monta.find_charges(session.id)
    except MontaError as error:
        failed = error
        await commit(context, lease, lambda change: _search_failed(context, change, failed))
        return
    found = await commit(
        context,
        lease,
        lambda change: apply_search_result(change, reports, at=overdue_since, policy=context.policy),
    )
    if session.charge is None and found.charge is not None and found.start.monta_ahead_s:
        async with context.database.transaction() as connection:
            operator = await context.operators.get(connection, session.operator_id)
        if operator is not None:
            await _note_clock(context, operator, found)


async def _note_clock(context: Context, operator: Operator, session: PaymentSession) -> None:
    """Records for operations how Monta's clock differs from ours. Written only when that has changed."""
    ahead_s, policy = session.start.monta_ahead_s, context.policy
    shown_s = ahead_s if abs(ahead_s) > policy.clock_skew_s else None
    before = operator.monta_clock_ahead_s
    if shown_s is before or (
        shown_s is not None and before is not None and abs(shown_s - before) < policy.clock_skew_s
    ):
        return
    log.warning("monta_clock_differs", operator_id=operator.id, ahead_s=ahead_s)
    async with context.database.transaction() as connection:
        await operator_state.note_monta_clock(connection, operator.id, shown_s)


def _not_accepted(context: Context, change: Change, error: MontaError) -> Change:
    """Maps an error to certainly refused, certainly not done, or unknown."""
    if isinstance(error, Refused):
        said = error.readable or error.message
        return monta_calls.start_refused(change, f"{error}: {said}" if said else str(error))
    if isinstance(error, NotSent) and error.permanent:
        return monta_calls.start_refused(change, str(error))
    if isinstance(error, NotDone):
        now = context.clock.now()
        pause = now + timedelta(seconds=backoff_s(change.session.start.not_done, context.policy))
        return monta_calls.start_not_done(change, str(error), retry_at=max(pause, error.retry_at or pause))
    return monta_calls.start_unknown(change, str(error), context.policy)


def _search_failed(context: Context, change: Change, error: MontaError) -> Change:
    now = context.clock.now()
    return monta_calls.search_failed(
        change, str(error), now=now, not_before=retry_at_of(error), policy=context.policy
    )


async def _request(context: Context, session: PaymentSession) -> tuple[StartCharge, Operator]:
    held = session.authorization
    limits = session.monta_limits or MontaLimits(kwh_limit=None, price_limit=None)
    async with context.database.transaction() as connection:
        terminal = await terminals.terminal_by_id(connection, session.terminal_id)
        operator = await context.operators.get(connection, session.operator_id)
    if terminal is None or operator is None:
        raise OperatorMissing(session.operator_id)
    request = StartCharge(
        paying_team_id=operator.paying_team_id,
        charge_point_id=session.charge_point_id,
        partner_external_id=session.id,
        provider=terminal.provider,
        external_id=session.display_reference,
        card_brand=held.card.brand,
        card_last4=held.card.last4,
        kwh_limit=limits.kwh_limit,
        price_limit=limits.price_limit,
    )
    return request, operator


async def _learn_charge_point(context: Context, monta: MontaClient, session: PaymentSession) -> None:
    """Reads a charge point that Monta has not shown yet: its rating makes the limit more exact."""
    try:
        point = await monta.get_charge_point(session.charge_point_id)
    except MontaError as error:
        context.telemetry.monta_called("get_charge_point", type(error).__name__)
        return
    async with context.database.transaction() as connection:
        await charge_points.put(connection, session.operator_id, [point])
