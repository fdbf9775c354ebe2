"""One turn of a payment session: take in the news, decide, and commit the decision before anything is called."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import assert_never

from app.domain import attempts, conclusion, late_facts, lost_charge
from app.domain.change import Change, Source
from app.domain.decision import decide
from app.domain.doubts import doubts
from app.domain.learning import learned
from app.domain.model_habits import with_model
from app.domain.payment_session import PaymentSession, Status
from app.domain.policy import Policy, power_bound_w
from app.domain.progress import absorb
from app.domain.settlement import SettlementBasis
from app.domain.steps import (
    AskSweep,
    Call,
    CountLost,
    GiveUp,
    LookUp,
    ReadCharge,
    SendStart,
    SendStop,
    Settle,
    SettleUnfinished,
    StopExtra,
    Wait,
)
from app.flows.tools import HOLD_STARTS, LeaseLost, OperatorMissing, Tools, report_of, tells_deletion
from app.monta.wire import PriceUnit
from app.store import (
    charge_points,
    currencies,
    duties,
    habits,
    inbox,
    leases,
    operator_sessions,
    operator_state,
    payment_sessions,
    price_groups,
    sightings,
)
from app.store.conflicts import again_after_conflict
from app.store.database import Connection
from app.store.duties import Duty
from app.store.inbox import News
from app.store.leases import Lease

LEARN_FROM_WH = 500
"""A smaller charge tells nothing of the price: fees and rounding outweigh it."""


SWEEP_FROM = 4
"""With fewer running sessions of an operator each reads its own charge: one list call would save nothing."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What was decided and committed: the call to make now, or Wait, and then the lease is given back."""

    step: Call | Wait
    session: PaymentSession
    given_back: bool
    decided_at_s: float
    """Monotonic time of the decision, which the intent bears. The send guard counts from here, as the quiet window
    does: counted from the commit, a process that stood still before it could send after that window."""


@again_after_conflict
async def take_turn(tools: Tools, lease: Lease) -> Turn:
    """Lock the session, absorb what came in, decide until a call or a wait is due, commit.

    A session whose next step is Wait is given back in the same transaction, so that news which came in meanwhile is
    either seen here or finds the session free. Raises LeaseLost.
    """
    decided_at_s, now = tools.clock.monotonic(), tools.clock.now()
    async with tools.database.transaction() as connection:
        before = await payment_sessions.lock(connection, lease.session_id, lease_token=lease.token)
        if before is None:
            raise LeaseLost(lease.session_id)
        news = await inbox.news_of(connection, before)
        change = await _with_news(tools, connection, Change(before), news)
        change = late_facts.reviewed(await _with_sightings(connection, change, tools.policy))
        change = await _with_charge_point(connection, change, tools.policy)
        change = lost_charge.observed(change, now)
        step, change = await _decided_here(connection, change, tools.policy, now)
        change = lost_charge.freed(change, now, tools.policy)
        session = await payment_sessions.save(connection, before, change, now)
        await _teach(connection, before, session, tools.policy)
        await _learn_price(connection, before, session)
        await _learn_currency(connection, before, session)
        await inbox.mark_applied(connection, news, now)
        given_back = isinstance(step, Wait) and len(news) < inbox.NEWS_LIMIT
        if isinstance(step, Wait) and given_back:
            await leases.give_back(connection, lease, step.until)
        else:
            await leases.extend(connection, lease, now + timedelta(seconds=tools.lease_s))
    _tell(tools, before, session)
    return Turn(step, session, given_back, decided_at_s)


@again_after_conflict
async def yield_turn(tools: Tools, lease: Lease) -> None:
    """Give back a session that has more to do: it is due again at once, after all others that are due."""
    now = tools.clock.now()
    async with tools.database.transaction() as connection:
        if await payment_sessions.lock(connection, lease.session_id, lease_token=lease.token) is not None:
            await leases.give_back(connection, lease, now)


async def _decided_here(
    connection: Connection, change: Change, policy: Policy, now: datetime
) -> tuple[Call | Wait, Change]:
    """What the domain decides, with the operator's sweep asked for where that saves calls; while nobody knows which
    charges were forgotten, nothing is started, and no hold of a session that seems not to have a charge is released."""
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
    await duties.make_due(connection, session.operator_id, Duty.SWEEP, now)
    step, change = _decided(attempts.sweep_asked(change, now), policy, now)
    return (ReadCharge(step.charge_id) if isinstance(step, AskSweep) else step), change


def _decided(change: Change, policy: Policy, now: datetime) -> tuple[Call | AskSweep | Wait, Change]:
    """Follow the decision as far as it goes without a call; note the intent of the call that comes next."""
    step = decide(change.session, policy, now)
    match step:
        case GiveUp() | Settle() | SettleUnfinished() | CountLost():
            return _decided(_concluded(change, step, policy, now), policy, now)
        case SendStart():
            return step, attempts.start_intended(change, now, policy)
        case SendStop(reason):
            return step, attempts.stop_intended(change, reason, now=now, policy=policy)
        case StopExtra(charge_id):
            return step, attempts.extra_stop_intended(change, charge_id, now=now, policy=policy)
        case LookUp() | ReadCharge() | AskSweep() | Wait():
            return step, _with_doubts(change, policy, now)
        case _:
            assert_never(step)


def _concluded(
    change: Change, step: GiveUp | Settle | SettleUnfinished | CountLost, policy: Policy, now: datetime
) -> Change:
    match step:
        case GiveUp(reason):
            return conclusion.given_up(change, reason, now, policy)
        case Settle():
            return conclusion.settled(change, now, policy)
        case SettleUnfinished():
            return conclusion.settled_unfinished(change, now, policy)
        case CountLost(why):
            return lost_charge.counted_lost(change, why)
        case _:
            assert_never(step)


def _with_doubts(change: Change, policy: Policy, now: datetime) -> Change:
    for doubt in doubts(change.session, policy, now):
        change = change.set_attention(doubt.code, doubt.why, Source.WATCHER, about=doubt.about)
    return change


async def _with_news(tools: Tools, connection: Connection, change: Change, news: list[News]) -> Change:
    if not news:
        return change
    operator = await tools.operators.get(connection, change.session.operator_id)
    if operator is None:
        raise OperatorMissing(change.session.operator_id)
    for item in news:
        report = report_of(item, PriceUnit(operator.price_unit))
        if report is not None:
            change = absorb(change, report, Source.MONTA_WEBHOOK, tools.policy)
        if tells_deletion(item):
            change = late_facts.doubted(change, item.received_at)
    return change


async def _with_sightings(connection: Connection, change: Change, policy: Policy) -> Change:
    """What reads of many charges showed of this one; clears it, for the row is locked and this will be committed."""
    reports = await sightings.of_session(connection, change.session.id)
    for report in reports:
        change = absorb(change, report, Source.MONTA_API, policy)
    if reports:
        await sightings.clear(connection, change.session.id)
    return change


async def _with_charge_point(connection: Connection, change: Change, policy: Policy) -> Change:
    """Take over the charge point's rating as soon as it is known, and once what was learned about it."""
    session = change.session
    if session.ended or (session.power_bound_w is not None and session.habits is not None):
        return change
    place = (session.operator_id, session.charge_point_id)
    if session.habits is None:
        own, siblings = await habits.get(connection, *place), await habits.of_model(connection, *place)
        session = replace(session, habits=with_model(own, siblings))
    known = await charge_points.get(connection, *place)
    if session.power_bound_w is None and known is not None and known.seen is not None:
        bound = power_bound_w(known.seen.max_power_w, known.seen.type, policy)
        session = replace(session, power_bound_w=bound)
    return change.to(session)


async def _teach(
    connection: Connection, before: PaymentSession, after: PaymentSession, policy: Policy
) -> None:
    """A session that has just been settled by its final record teaches about its charge point."""
    settlement = after.settlement
    if settlement is None or before.settlement is not None or after.charge is None:
        return
    if settlement.basis is not SettlementBasis.FINAL_PRICE:
        return
    place = (after.operator_id, after.charge_point_id)
    known = await habits.get(connection, *place)
    taught = learned(known, after, policy)
    if taught != known:
        await habits.put(connection, *place, taught)


async def _learn_price(connection: Connection, before: PaymentSession, session: PaymentSession) -> None:
    """What a kWh came to, fees and all: an estimate for sessions that have no tariff."""
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
    """What the charge runs in, once: later holds in another currency are refused."""
    charge = session.charge
    if charge is None or charge.named is None:
        return
    if before.charge is not None and before.charge.currency == charge.currency:
        return
    seen = currencies.charged(charge.named, session.charge_point_id)
    await currencies.note(connection, session.operator_id, [] if seen is None else [seen])


def _tell(tools: Tools, before: PaymentSession, session: PaymentSession) -> None:
    known = before.stop is not None and before.stop.confirmed_at is not None
    if (stop := session.stop) is not None and stop.confirmed_at is not None and not known:
        tools.telemetry.stop_confirmed((stop.confirmed_at - stop.decided_at).total_seconds())
    if session.settlement is not None and before.settlement is None:
        tools.telemetry.settled(session.settlement.shortfall_minor, session.authorization.currency)
