"""Advances sessions: applies outcomes and reports, decides, commits before any call."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import assert_never

import structlog

from app.domain.charging.charge import PriceUnit
from app.domain.limit.policy import Policy, power_bound_w
from app.domain.limit.profile import ChargePointProfile, with_model
from app.domain.session import late_facts, monta_calls, stuck_session
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
from app.domain.units.frozen import replace
from app.domain.units.ids import ChargeId, OperatorId
from app.flows.context import HOLD_STARTS, Context, LeaseLost, OperatorMissing
from app.flows.ingest import allowance_of, report_of, reports_deletion
from app.flows.learn import learn
from app.flows.saving import save_all
from app.flows.traces import settlement_attributes
from app.flows.turns import Advanced, Turn
from app.store import kept_readings
from app.store.db.connection import Connection
from app.store.db.database import DATABASE_ERRORS, retry_on_serialization_failure
from app.store.kept_readings import Allowance
from app.store.operators import charge_points, jobs, operator_sessions, operator_state
from app.store.operators.charge_points import ChargePointFacts, Place
from app.store.operators.jobs import Job
from app.store.sessions import claimed, inbox, leases, payment_sessions, polled_reports
from app.store.sessions.claimed import Claimed
from app.store.sessions.inbox import PendingEntry
from app.store.sessions.leases import Lease
from app.tracing import Kind

log = structlog.get_logger("session")

SWEEP_FROM = 4
"""Below this many running sessions of an operator each reads its own charge: a list call would save nothing."""
LATE_NEWS = timedelta(seconds=10)
"""The database's `transaction_timeout`: a webhook's transaction that began before the charge id was committed here
woke no session, and has ended by then."""


@dataclass(slots=True, eq=False)
class _Work:
    """A session on its way through one transaction."""

    turn: Turn
    row: Claimed
    before: PaymentSession
    change: Change
    step: Call | Wait | None = None
    """None: nothing was decided."""
    news: list[PendingEntry] = field(default_factory=list)
    polled: bool = False

    @property
    def adopted(self) -> bool:
        """Whether the session has adopted its charge since its claim began."""
        previous = self.turn.previous
        if self.change.session.charge is None:
            return False
        since_previous = previous is not None and (previous.adopted or previous.session.charge is None)
        return self.before.charge is None or since_previous

    def waits_until(self, now: datetime) -> Wait | None:
        """When the session is due again, which is released then. None: it goes on, or has more news than were read.

        After adopting its charge it is due again soon, for news that named only the charge.
        """
        if not isinstance(self.step, Wait) or len(self.news) >= inbox.PENDING_LIMIT:
            return None
        return soonest(self.step, Wait(now + LATE_NEWS if self.adopted else None))


async def advance(context: Context, lease: Lease, previous: Advanced | None = None) -> Advanced:
    """Advances one session in a transaction of its own. Raises LeaseLost, and what its rules raise."""
    turn = Turn(lease, previous=previous)
    await take_turns(context, [turn], for_rows=True)
    if turn.error is not None:
        raise turn.error
    assert turn.advanced is not None, "a turn that raised nothing has decided"
    return turn.advanced


@retry_on_serialization_failure
async def take_turns(context: Context, turns: Sequence[Turn], *, for_rows: bool = False) -> None:
    """Advances one operator's sessions in one transaction. Locks them, applies outcomes and news, decides until a call
    or a wait is due, and commits.

    A session whose next step is Wait is released in the same transaction, so that news which came in meanwhile is
    either seen here or finds the session free. `for_rows`: waits for rows that others have locked; such turns are left
    untaken otherwise. What a session's own rules raise concerns its turn only.
    """
    decided_at_s, now = context.clock.monotonic(), context.clock.now()
    until = now + timedelta(seconds=context.lease_s)
    for turn in turns:
        turn.begin()
    async with context.database.transaction(urgent=any(turn.urgent for turn in turns)) as connection:
        locked = await claimed.lock(connection, [turn.lease for turn in turns], wait=for_rows)
        deciding = _Deciding(context, connection, now)
        done = await deciding.work_on([(turn, row) for turn in turns if (row := locked.get(turn.lease))])
        waits = [work.waits_until(now) for work in done]
        allowances: list[Allowance] = []
        for number, (work, wait) in enumerate(zip(done, waits, strict=True)):
            # After adopting its charge it waits for news that only it can take in.
            if wait is not None and not work.adopted:
                allowance, waits[number] = allowance_of(work.change.session, wait, context.policy, now)
                allowances += [allowance] if allowance is not None else []
        claims = {
            work.before.id: leases.extended(until)
            if wait is None
            else leases.released(work.change.session, wait)
            for work, wait in zip(done, waits, strict=True)
        }
        edits = [(work.before, work.change) for work in done]
        saved = await save_all(context, connection, edits, now, claims=claims)
        await kept_readings.allow(connection, allowances)
        await _note_used(context, connection, done, saved, now)
    for turn in turns if for_rows else ():
        if turn.lease not in locked:
            turn.error = LeaseLost(turn.lease.session_id)
    for work, session, wait in zip(done, saved, waits, strict=True):
        _record_metrics(context, work.before, session)
        work.turn.saved = session
        if work.step is not None:
            work.turn.advanced = Advanced(
                work.step, session, wait is not None, work.adopted, decided_at_s, work.row.provider
            )


async def _note_used(
    context: Context,
    connection: Connection,
    done: Sequence[_Work],
    saved: Sequence[PaymentSession],
    now: datetime,
) -> None:
    """Learns from the saved sessions, and removes applied entries. Those that the sessions have applied."""
    # By charge point, so that transactions which learn of the same ones never deadlock.
    pairs = sorted(
        ((work.before, session) for work, session in zip(done, saved, strict=True)),
        key=lambda pair: _place(pair[1]),
    )
    await learn(connection, pairs, context.policy)
    for work in done:
        await inbox.mark_applied(connection, work.before.operator_id, work.news, now)
        if work.polled:
            await polled_reports.clear(connection, work.before.id)


class _Deciding:
    """Decides for sessions that one transaction has locked. What several of them need is read once."""

    def __init__(self, context: Context, connection: Connection, now: datetime) -> None:
        self._context = context
        self._connection = connection
        self._now = now
        self._held_since: dict[OperatorId, datetime | None] = {}
        self._places: dict[Place, ChargePointFacts] = {}

    async def work_on(self, claims: Sequence[tuple[Turn, Claimed]]) -> list[_Work]:
        """Applies outcomes and decides. Leaves out turns whose own rules raise before there is anything to save.

        Errors of the database pass through: they end the transaction for all.
        """
        begun = [work for turn, row in claims if (work := _begun(turn, row)) is not None]
        places = {
            _place(work.before) for work in begun if not work.before.ended and _lacks_facts(work.before)
        }
        if places:
            self._places = await charge_points.facts_of(self._connection, sorted(places))
        done = [work for work in begun if not work.turn.decides or await self._has_decided(work)]
        await self._set_aside_taken(done)
        return done

    async def _set_aside_taken(self, done: Sequence[_Work]) -> None:
        """Decides anew without charges whose ids Monta has used before: they are other sessions' charges.

        A session cannot have one of them, so that each of its turns would fail.
        """
        adopting: dict[ChargeId, list[_Work]] = {}
        for work in done:
            if work.before.charge is None and work.change.session.charge is not None:
                adopting.setdefault(work.change.session.charge.id, []).append(work)
        if not adopting:
            return
        operator_id = done[0].before.operator_id
        taken = await payment_sessions.charges_taken(self._connection, operator_id, sorted(adopting))
        for charge_id, works in adopting.items():
            for work in works if charge_id in taken else works[1:]:
                known = replace(work.before, taken_charges=(*work.before.taken_charges, charge_id))
                work.change = _with_outcome(work.turn, known)
                if work.turn.decides:
                    await self._has_decided(work)

    async def _has_decided(self, work: _Work) -> bool:
        """Decides. False: the session's rules raised, and there is no outcome to save either."""
        outcome = work.change
        try:
            await self._decide(work)
        except DATABASE_ERRORS:
            raise
        except Exception as error:
            work.turn.error = error
            work.change, work.step, work.news, work.polled = outcome, None, [], False
            return work.turn.outcome is not None
        return True

    async def _decide(self, work: _Work) -> None:
        policy, connection = self._context.policy, self._connection
        change = work.change
        if work.row.has_news:
            work.news = await inbox.pending_of(connection, change.session)
            change = await _with_news(self._context, connection, change, work.news)
        if work.row.has_polled_reports:
            work.polled = True
            for report in await polled_reports.of_session(connection, work.before.id):
                change = apply_report(change, report, Source.MONTA_API, policy)
        change = late_facts.compare_late_price(change)
        change = _with_charge_point(change, self._places.get(_place(work.before)), policy)
        change = stuck_session.observed(change, self._now, policy)
        work.step, change = await self._decided_here(change)
        work.change = stuck_session.freed(change, self._now, policy)

    async def _decided_here(self, change: Change) -> tuple[Call | Wait, Change]:
        """The domain's decision, with a sweep requested where that saves calls. While starts are held for a
        reconciliation, nothing is started, and no hold of a session that seems to have no charge is released."""
        policy, now, connection = self._context.policy, self._now, self._connection
        first = decide(change.session, policy, now)
        if change.session.status is Status.AUTHORIZED and isinstance(first, SendStart | GiveUp):
            held_since = await self._starts_held_since(change.session.operator_id)
            if held_since is not None and now < held_since + HOLD_STARTS:
                return Wait(held_since + HOLD_STARTS), change
        step, change = _decided(change, policy, now)
        if not isinstance(step, AskSweep):
            return step, change
        session = change.session
        if (
            await operator_sessions.count_running(connection, session.operator_id, up_to=SWEEP_FROM)
            < SWEEP_FROM
        ):
            return ReadCharge(step.charge_id), change
        await jobs.request(connection, session.operator_id, Job.SWEEP, now)
        step, change = _decided(monta_calls.sweep_asked(change, now), policy, now)
        return (ReadCharge(step.charge_id) if isinstance(step, AskSweep) else step), change

    async def _starts_held_since(self, operator_id: OperatorId) -> datetime | None:
        if operator_id not in self._held_since:
            self._held_since[operator_id] = await operator_state.starts_held_since(
                self._connection, operator_id
            )
        return self._held_since[operator_id]


def _with_outcome(turn: Turn, session: PaymentSession) -> Change:
    change = Change(session)
    return change if turn.outcome is None else turn.outcome(change)


def _begun(turn: Turn, row: Claimed) -> _Work | None:
    """Decodes the session and applies the outcome of its call. None: that raised."""
    try:
        before = row.session()
        return _Work(turn, row, before, _with_outcome(turn, before))
    except Exception as error:
        turn.error = error
        return None


@retry_on_serialization_failure
async def yield_session(context: Context, lease: Lease) -> None:
    """Releases a session that has more to do. Due again at once, after all others that are due."""
    now = context.clock.now()
    async with context.database.transaction(urgent=lease.for_stop) as connection:
        if await payment_sessions.lock(connection, lease.session_id, lease_token=lease.token) is not None:
            await leases.release(connection, lease, Wait(now))


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


def _with_charge_point(change: Change, known: ChargePointFacts | None, policy: Policy) -> Change:
    """Copies the charge point's rating and learned profile. The rating as soon as it is known, the profile once."""
    session = change.session
    if session.ended or not _lacks_facts(session):
        return change
    if session.profile is None:
        profile = ChargePointProfile() if known is None else with_model(known.profile, known.siblings)
        session = replace(session, profile=profile)
    seen = None if known is None else known.known.seen
    if session.power_bound_w is None and seen is not None:
        session = replace(session, power_bound_w=power_bound_w(seen.max_power_w, seen.type, policy))
    return change.to(session)


def _lacks_facts(session: PaymentSession) -> bool:
    return session.power_bound_w is None or session.profile is None


def _place(session: PaymentSession) -> Place:
    return (session.operator_id, session.charge_point_id)


def _record_metrics(context: Context, before: PaymentSession, session: PaymentSession) -> None:
    known = before.stop is not None and before.stop.confirmed_at is not None
    if (stop := session.stop) is not None and stop.confirmed_at is not None and not known:
        context.telemetry.stop_confirmed((stop.confirmed_at - stop.decided_at).total_seconds())
    if session.settlement is not None and before.settlement is None:
        context.telemetry.settled(session.settlement.shortfall_minor, session.authorization.currency)
        with context.tracing.span(
            "settle", Kind.INTERNAL, settlement_attributes(session), parent=session.traceparent
        ):
            pass  # it is decided within a transaction that several sessions share
