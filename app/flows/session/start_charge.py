"""Starts a charge with one guarded POST; searches for unknown outcomes."""

from datetime import timedelta

import structlog

from app.domain.charging.charge import ChargeReport
from app.domain.limit.monta_limits import MontaLimits
from app.domain.limit.policy import backoff_s
from app.domain.session import monta_calls
from app.domain.session.machine import Change
from app.domain.session.payment_session import PaymentSession
from app.domain.session.reports import apply_search_result
from app.domain.units.frozen import replace
from app.flows.context import Context, monta_of, operator_of
from app.flows.turns import Advanced, Edit
from app.monta.errors import MontaError, NotDone, NotSent, Refused, retry_at_of
from app.monta.objects import StartCharge
from app.store.operators import charge_points, operator_state
from app.store.operators.operators import Operator

log = structlog.get_logger("start")


async def start_charge(context: Context, decided: Advanced) -> Edit:
    """Starts the charge: sends the committed intent's POST within its guard. Returns what came of it."""
    session = decided.session
    operator = await operator_of(context, session.operator_id)
    monta = await monta_of(context, session.operator_id)
    guard_ends_s = decided.decided_at_s + context.policy.send_guard_s
    try:
        report = await monta.start_charge(
            _request(session, operator, decided.provider),
            still_allowed=lambda: context.clock.monotonic() <= guard_ends_s,
        )
    except MontaError as error:
        failed = error
        return lambda change: _not_accepted(context, change, failed)
    return lambda change: monta_calls.start_accepted(change, report, context.policy)


async def search_charges(context: Context, session: PaymentSession) -> Edit:
    """Searches by our reference over all pages. An empty answer counts from the moment of the request."""
    asked_at = context.clock.now()
    monta = await monta_of(context, session.operator_id)
    try:
        reports: tuple[ChargeReport, ...] = await monta.find_charges(session.id)
    except MontaError as error:
        failed = error
        return lambda change: _search_failed(context, change, failed)
    return lambda change: apply_search_result(change, reports, at=asked_at, policy=context.policy)


async def note_clock(context: Context, session: PaymentSession) -> None:
    """Records for operations how Monta's clock differs from ours. Written only when that has changed."""
    operator = await operator_of(context, session.operator_id)
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
    context.monta.of(replace(operator, monta_clock_ahead_s=shown_s))


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


def _request(session: PaymentSession, operator: Operator, provider: str) -> StartCharge:
    held = session.authorization
    limits = session.monta_limits or MontaLimits(kwh_limit=None, price_limit=None)
    return StartCharge(
        paying_team_id=operator.paying_team_id,
        charge_point_id=session.charge_point_id,
        partner_external_id=session.id,
        provider=provider,
        external_id=session.display_reference,
        card_brand=held.card.brand,
        card_last4=held.card.last4,
        kwh_limit=limits.kwh_limit,
        price_limit=limits.price_limit,
        soc_limit=session.soc_limit,
    )


async def learn_charge_point(context: Context, session: PaymentSession) -> None:
    """Reads a charge point that Monta has not shown yet. Its rating makes the limit more exact."""
    monta = await monta_of(context, session.operator_id)
    try:
        point = await monta.get_charge_point(session.charge_point_id)
    except MontaError:
        return
    async with context.database.transaction() as connection:
        await charge_points.put(connection, session.operator_id, [point])
