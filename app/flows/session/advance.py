"""Advances one session: applies its news, decides the next step, commits before any call."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import assert_never

from app.domain.charging.charge import PriceUnit
from app.domain.limit.policy import Policy, power_bound_w
from app.domain.limit.profile import with_model
from app.domain.session import late_facts, monta_calls, stuck_session
from app.domain.session.learning import learned
from app.domain.session.machine import (
    AskSweep,
    Call,
    Change,
    CountLost,
    GiveUp,
    ReadCharge,
    SearchCharges,
    SendStart,
    SendStop,
    Settle,
    SettleUnfinished,
    Source,
    StopDuplicate,
    Wait,
    soonest,
)
from app.domain.session.next_step import decide
from app.domain.session.payment_session import PaymentSession, Status
from app.domain.session.reports import apply_report
from app.domain.session.settle import release_unused, settle_final, settle_unfinished
from app.domain.session.settlement import SettlementBasis
from app.flows.context import HOLD_STARTS, Context, LeaseLost, OperatorMissing
from app.flows.ingest import report_of, reports_deletion
from app.store.db.connection import Connection
from app.store.db.database import retry_on_serialization_failure
from app.store.operators import (
    charge_points,
    currencies,
    jobs,
    operator_sessions,
    operator_state,
    price_groups,
)
from app.store.operators.jobs import Job
from app.store.sessions import inbox, leases, payment_sessions, polled_reports
from app.store.sessions.inbox import PendingEntry
from app.store.sessions.leases import Lease

LEARN_FROM_WH = 500
"""Smaller charges teach no price: fees and rounding outweigh it."""


SWEEP_FROM = 4
"""Below this many running sessions of an operator each reads its own charge: a list call would save nothing."""


@dataclass(frozen=True, slots=True)
class Advanced:
    """What was decided and committed: the call to make now, or Wait, and then the lease is released."""

    step: Call | Wait
    session: PaymentSession
    released: bool
    adopted: bool
    """The session took its charge in this step, or since this claim began."""
    decided_at_s: float
    """Monotonic time of the decision, which the intent carries. The send guard counts from here, as the quiet window
    does: counted from the commit, a process that was suspended before it could send after that window."""


LATE_NEWS = timedelta(seconds=10)
"""The database's `transaction_timeout`: a webhook's transaction that began before the charge id was committed here
woke no session, and has ended by then."""


@retry_on_serialization_failure
async def advance(context: Context, lease: Lease, previous: Advanced | None = None) -> Advanced:
    """Locks the session, applies its news, decides until a call or a wait is due, and commits.

    A session whose next step is Wait is released in the same transaction, so that news which came in meanwhile is
    either seen here or finds the session free. After adopting its charge it is due again soon, for news that named only
    the charge. `previous`: the step before, in the same claim. Raises LeaseLost.
    """
    decided_at_s, now = context.clock.monotonic(), context.clock.now()
    async with context.database.transaction(urgent=lease.for_stop) as connection:
        before = await payment_sessions.lock(connection, lease.session_id, lease_token=lease.token)
        if before is None:
            raise LeaseLost(lease.session_id)
        news = await inbox.pending_of(connection, before)
        change = await _with_news(context, connection, Change(before), news)
        change = late_facts.compare_late_price(await _with_polled_reports(connection, change, context.policy))
        change = await _with_charge_point(connection, change, context.policy)
        change = stuck_session.observed(change, now)
        step, change = await _decided_here(connection, change, context.policy, now)
        change = stuck_session.freed(change, now, context.policy)
        session = await payment_sessions.save(connection, before, change, now)
        await _teach(connection, before, session, context.policy)
        await _learn_price(connection, before, session)
        await _learn_currency(connection, before, session)
        await inbox.mark_applied(connection, news, now)
        released = isinstance(step, Wait) and len(news) < inbox.PENDING_LIMIT
        adopted = _adopted(before, session, previous)
        if isinstance(step, Wait) and released:
            latest = now + LATE_NEWS if adopted else None
            await leases.release(connection, lease, soonest(step, Wait(latest)))
        else:
            await leases.extend(connection, lease, now + timedelta(seconds=context.lease_s))
    _record_metrics(context, before, session)
    return Advanced(step, session, released, adopted, decided_at_s)


def _adopted(before: PaymentSession, session: PaymentSession, previous: Advanced | None) -> bool:
    """Whether the session has adopted its charge since this claim began."""
    if session.charge is None:
        return False
    since_previous = previous is not None and (previous.adopted or previous.session.charge is None)
    return before.charge is None or since_previous


@retry_on_serialization_failure
async def yield_session(context: Context, lease: Lease) -> None:
    """Releases a session that has more to do: due again at once, after all others that are due."""
    now = context.clock.now()
    async with context.database.transaction(urgent=lease.for_stop) as connection:
        if await payment_sessions.lock(connection, lease.session_id, lease_token=lease.token) is not None:
            await leases.release(connection, lease, Wait(now))


async def _decided_here(
    connection: Connection, change: Change, policy: Policy, now: datetime
) -> tuple[Call | Wait, Change]:
    """The domain's decision, with a sweep requested where that saves calls. While starts are held for a reconciliation,
    nothing is started, and no hold of a session that seems to have no charge is released."""
    first = decide(change.session, policy, now)
    if change.session.status is Status.AUTHORIZED and isinstance(first, SendStart | GiveUp):
        held_since = await operator_state.starts_held_since(connection, change.session.operator_id)
        if held_since is not None and now < held_since + HOLD_STARTS:
            return Wait(held_since + HOLD_STARTS), change
    step, change = _decided(change, policy, now)
    if not isinstance(step, AskSweep):
        return step, change
    session = change.session
    if await operator_sessions.count_running(connection, session.operator_id, up_to=SWEEP_FROM) < SWEEP_FROM:
        return ReadCharge(step.charge_id), change
    await jobs.make_due(connection, session.operator_id, Job.SWEEP, now)
    step, change = _decided(monta_calls.sweep_asked(change, now), policy, now)
    return (ReadCharge(step.charge_id) if isinstance(step, AskSweep) else step), change


def _decided(change: Change, policy: Policy, now: datetime) -> tuple[Call | AskSweep | Wait, Change]:
    """Follows decisions up to the next call, and notes that call's intent."""
    step = decide(change.session, policy, now)
    match step:
        case GiveUp() | Settle() | SettleUnfinished() | CountLost():
            return _decided(_concluded(change, step, policy, now), policy, now)
        case SendStart():
            return step, monta_calls.start_intended(change, now, policy)
        case SendStop(reason):
            return step, monta_calls.stop_intended(change, reason, now=now, policy=policy)
        case StopDuplicate(charge_id):
            return step, monta_calls.duplicate_stop_intended(change, charge_id, now=now, policy=policy)
        case SearchCharges() | ReadCharge() | AskSweep() | Wait():
            return step, stuck_session.with_attention(change, policy, now)
        case _:
            assert_never(step)


def _concluded(
    change: Change, step: GiveUp | Settle | SettleUnfinished | CountLost, policy: Policy, now: datetime
) -> Change:
    match step:
        case GiveUp(reason):
            return release_unused(change, reason, now, policy)
        case Settle():
            return settle_final(change, now, policy)
        case SettleUnfinished():
            return settle_unfinished(change, now, policy)
        case CountLost(why):
            return stuck_session.counted_lost(change, why)
        case _:
            assert_never(step)


async def _with_news(
    context: Context, connection: Connection, change: Change, news: list[PendingEntry]
) -> Change:
    if not news:
        return change
    operator = await context.operators.get(connection, change.session.operator_id)
    if operator is None:
        raise OperatorMissing(change.session.operator_id)
    for item in news:
        report = report_of(item, PriceUnit(operator.price_unit))
        if report is not None:
            change = apply_report(change, report, Source.MONTA_WEBHOOK, context.policy)
        if reports_deletion(item):
            change = late_facts.contradicted(change, item.received_at)
    return change


async def _with_polled_reports(connection: Connection, change: Change, policy: Policy) -> Change:
    """Applies polled reports of this session and deletes them. The row is locked, and this will be committed."""
    reports = await polled_reports.of_session(connection, change.session.id)
    for report in reports:
        change = apply_report(change, report, Source.MONTA_API, policy)
    if reports:
        await polled_reports.clear(connection, change.session.id)
    return change


async def _with_charge_point(connection: Connection, change: Change, policy: Policy) -> Change:
    """Copies the charge point's rating as soon as it is known, and once its learned profile."""
    session = change.session
    if session.ended or (session.power_bound_w is not None and session.profile is not None):
        return change
    place = (session.operator_id, session.charge_point_id)
    if session.profile is None:
        own, siblings = (
            await charge_points.profile_of(connection, *place),
            await charge_points.profiles_of_model(connection, *place),
        )
        session = replace(session, profile=with_model(own, siblings))
    known = await charge_points.get(connection, *place)
    if session.power_bound_w is None and known is not None and known.seen is not None:
        bound = power_bound_w(known.seen.max_power_w, known.seen.type, policy)
        session = replace(session, power_bound_w=bound)
    return change.to(session)


async def _teach(
    connection: Connection, before: PaymentSession, after: PaymentSession, policy: Policy
) -> None:
    """Learns about the charge point from a session just settled by its final record."""
    settlement = after.settlement
    if settlement is None or before.settlement is not None or after.charge is None:
        return
    if settlement.basis is not SettlementBasis.FINAL_PRICE:
        return
    place = (after.operator_id, after.charge_point_id)
    known = await charge_points.profile_of(connection, *place)
    taught = learned(known, after, policy)
    if taught != known:
        await charge_points.put_profile(connection, *place, taught)


async def _learn_price(connection: Connection, before: PaymentSession, session: PaymentSession) -> None:
    """Learns the price a kWh, fees included: an estimate for sessions without a tariff."""
    settled, charge = session.settlement, session.charge
    if settled is None or before.settlement is not None or charge is None:
        return
    price = charge.latest.price
    if settled.basis is not SettlementBasis.FINAL_PRICE or settled.energy_wh < LEARN_FROM_WH:
        return
    if price is None or price <= 0 or settled.shortfall_minor:
        return
    await price_groups.learn_price(
        connection,
        session.operator_id,
        session.charge_point_id,
        kwh_price=(price * 1000 / settled.energy_wh).quantize(Decimal("0.0001")),
        currency=session.authorization.currency,
    )


async def _learn_currency(connection: Connection, before: PaymentSession, session: PaymentSession) -> None:
    """Learns the charge's currency, once: later holds in another currency are refused."""
    charge = session.charge
    if charge is None or charge.named is None:
        return
    if before.charge is not None and before.charge.currency == charge.currency:
        return
    seen = currencies.charged(charge.named, session.charge_point_id)
    await currencies.note(connection, session.operator_id, [] if seen is None else [seen])


def _record_metrics(context: Context, before: PaymentSession, session: PaymentSession) -> None:
    known = before.stop is not None and before.stop.confirmed_at is not None
    if (stop := session.stop) is not None and stop.confirmed_at is not None and not known:
        context.telemetry.stop_confirmed((stop.confirmed_at - stop.decided_at).total_seconds())
    if session.settlement is not None and before.settlement is None:
        context.telemetry.settled(session.settlement.shortfall_minor, session.authorization.currency)
