"""Starting a charge: one guarded POST, and the search for what it did when nobody knows."""

from datetime import timedelta

import structlog

from app.domain import attempts
from app.domain.change import Change
from app.domain.charge import ChargeReport
from app.domain.payment_session import MontaLimits, PaymentSession
from app.domain.policy import backoff_s
from app.domain.progress import looked
from app.flows.tools import OperatorMissing, Tools, commit, monta_of
from app.monta.client import MontaClient
from app.monta.errors import MontaError, NotDone, NotSent, Refused, retry_at_of
from app.monta.wire import StartCharge
from app.store import charge_points, operator_state, terminals
from app.store.leases import Lease
from app.store.operators import Operator

log = structlog.get_logger("start")


async def send(tools: Tools, lease: Lease, session: PaymentSession, *, decided_at_s: float) -> None:
    """1. The intent of `decided_at_s` (monotonic) is committed. 2. POST within the guard. 3. Commit the outcome."""
    monta = await monta_of(tools, session.operator_id)
    request, operator = await _request(tools, session)
    guard_ends_s = decided_at_s + tools.policy.send_guard_s
    try:
        report = await monta.start_charge(
            request, still_allowed=lambda: tools.clock.monotonic() <= guard_ends_s
        )
    except MontaError as error:
        failed = error
        await commit(tools, lease, lambda change: _not_accepted(tools, change, failed))
        return
    started = await commit(tools, lease, lambda change: attempts.start_accepted(change, report, tools.policy))
    if started.charge is not None:
        await _note_clock(tools, operator, started)
    if session.power_bound_w is None:
        await _learn_charge_point(tools, monta, session)


async def look_up(tools: Tools, lease: Lease, session: PaymentSession) -> None:
    """Search by our reference over all pages. An empty answer counts from the moment of asking."""
    asked_at = tools.clock.now()
    monta = await monta_of(tools, session.operator_id)
    try:
        reports: tuple[ChargeReport, ...] = await monta.find_charges(session.id)
    except MontaError as error:
        failed = error
        await commit(tools, lease, lambda change: _look_failed(tools, change, failed))
        return
    found = await commit(
        tools, lease, lambda change: looked(change, reports, at=asked_at, policy=tools.policy)
    )
    if session.charge is None and found.charge is not None and found.start.monta_ahead_s:
        async with tools.database.transaction() as connection:
            operator = await tools.operators.get(connection, session.operator_id)
        if operator is not None:
            await _note_clock(tools, operator, found)


async def _note_clock(tools: Tools, operator: Operator, session: PaymentSession) -> None:
    """Operations see how Monta's clock differs from ours; written only when that has changed."""
    ahead_s, policy = session.start.monta_ahead_s, tools.policy
    told = ahead_s if abs(ahead_s) > policy.clock_skew_s else None
    before = operator.monta_clock_ahead_s
    if told is before or (
        told is not None and before is not None and abs(told - before) < policy.clock_skew_s
    ):
        return
    log.warning("monta_clock_differs", operator_id=operator.id, ahead_s=ahead_s)
    async with tools.database.transaction() as connection:
        await operator_state.note_monta_clock(connection, operator.id, told)


def _not_accepted(tools: Tools, change: Change, error: MontaError) -> Change:
    """Certainly refused, certainly not done, or unknown: never mixed up."""
    if isinstance(error, Refused):
        said = error.readable or error.message
        return attempts.start_refused(change, f"{error}: {said}" if said else str(error))
    if isinstance(error, NotSent) and error.permanent:
        return attempts.start_refused(change, str(error))
    if isinstance(error, NotDone):
        now = tools.clock.now()
        pause = now + timedelta(seconds=backoff_s(change.session.start.not_done, tools.policy))
        return attempts.start_not_done(change, str(error), retry_at=max(pause, error.retry_at or pause))
    return attempts.start_unknown(change, str(error), tools.policy)


def _look_failed(tools: Tools, change: Change, error: MontaError) -> Change:
    now = tools.clock.now()
    return attempts.look_failed(
        change, str(error), now=now, not_before=retry_at_of(error), policy=tools.policy
    )


async def _request(tools: Tools, session: PaymentSession) -> tuple[StartCharge, Operator]:
    held = session.authorization
    limits = session.start.limits or MontaLimits(price=None, kwh=None)
    async with tools.database.transaction() as connection:
        terminal = await terminals.terminal_by_id(connection, session.terminal_id)
        operator = await tools.operators.get(connection, session.operator_id)
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
        kwh_limit=limits.kwh,
        price_limit=limits.price,
    )
    return request, operator


async def _learn_charge_point(tools: Tools, monta: MontaClient, session: PaymentSession) -> None:
    """The charge runs at a charge point that Monta never told us about: its rating makes the limit sharper."""
    try:
        point = await monta.get_charge_point(session.charge_point_id)
    except MontaError as error:
        tools.telemetry.monta_called("get_charge_point", type(error).__name__)
        return
    async with tools.database.transaction() as connection:
        await charge_points.put(connection, session.operator_id, [point])
