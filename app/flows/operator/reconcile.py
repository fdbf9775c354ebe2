"""Compares Monta's charges with our sessions, so that none is forgotten."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from app.domain.charging.charge import ENDED, ChargeReport, ChargeState
from app.domain.charging.orphan import YOUNG, ListedCharge, has_our_form, is_young, objection_to
from app.domain.session.late_facts import BLUR_WH
from app.domain.session.machine import Caller
from app.domain.units.ids import ChargeId, OperatorId, SessionId
from app.domain.units.money import Rounding, to_minor
from app.flows.context import HOLD_STARTS, Context
from app.monta.client import MontaClient
from app.monta.errors import MontaError
from app.monta.lists import ChargeListing
from app.monta.ports import Purpose
from app.store.db.connection import Connection
from app.store.db.database import retry_on_serialization_failure
from app.store.operators import currencies, jobs, operator_sessions, operator_state, orphans, terminals
from app.store.operators.jobs import Job, JobLease
from app.store.operators.operator_sessions import KnownCharge
from app.store.operators.operator_state import Reconciliation
from app.store.operators.operators import Operator
from app.store.operators.orphans import Orphan
from app.store.sessions import polled_reports

log = structlog.get_logger("reconcile")

EVERY = timedelta(hours=1)
"""Interval at which charges updated since the last comparison are compared."""
DEEP_EVERY = timedelta(days=1)
DEEP_REACH = timedelta(hours=48)
"""Once a day the last two days are compared as a whole, final prices too."""
OVERLAP = timedelta(minutes=10)
"""Comparisons overlap: Monta's lists lag, and young charges are left for the next one."""
MOST_BEHIND = timedelta(days=30)
AGAIN = timedelta(seconds=10)
"""First pause between stops of a running orphan. A failed comparison is retried after three times that."""
FINAL_READ = timedelta(minutes=1)
AGE_SHARE = 4
PAUSE_MAX = timedelta(minutes=5)
"""Upper bound of both pauses, which are a quarter of the orphan's known age, or of the time since the comparison was
due."""
ORPHANS_FOR = timedelta(days=7)
"""Age after which an orphan is no longer stopped automatically. Operations have it in their list."""
MAX_ORPHANS = 50
"""Orphans stopped or read in one run."""
BATCH = 200


class NotOurs(Exception):
    """Another worker has the job's lease now; nothing was written."""


@retry_on_serialization_failure
async def demand(context: Context) -> None:
    """Requests a reconciliation of all operators before any start. At process start, or after the database lost
    data."""
    now = context.clock.now()
    async with context.database.transaction() as connection:
        await jobs.lock(connection, Job.RECONCILE)
        for operator_id in await operator_state.want_reconciliation(connection, now, patience=HOLD_STARTS):
            await jobs.make_due(connection, operator_id, Job.RECONCILE, now)


class OrphanUnknown(Exception):
    """There is no such orphan charge, or it is not the caller's."""


async def close_orphan(
    context: Context, operator_id: OperatorId | None, charge_id: ChargeId, *, because: str, by: Caller
) -> Orphan:
    """Closes an orphan for operations; who did it is kept with it.

    Raises OrphanUnknown: there is none that the caller may see. Raises orphans.SeveralOrphans: without an operator,
    where more than one has a charge of this id.
    """
    now, who = context.clock.now(), by.id if by.name is None else f"{by.id} ({by.name})"
    async with context.database.transaction() as connection:
        closed = await orphans.close(connection, operator_id, charge_id, because=because, by=who, now=now)
    if closed is None:
        raise OrphanUnknown
    return closed


async def reconcile(context: Context, lease: JobLease) -> None:
    """Reconciles one operator. Never raises for a Monta failure: the problem is noted for operations and retried
    soon."""
    async with context.database.transaction() as connection:
        operator = await context.operators.get(connection, lease.operator_id)
        state = await operator_state.reconciliation(connection, lease.operator_id)
    if operator is None or state is None:
        return
    monta = context.monta.of(operator)
    now = context.clock.now()
    due_at = state.due_at
    if due_at <= now:
        due_at = await _compare(context, lease, operator, monta, state)
    pause = await _follow_orphans(context, lease, monta)
    async with context.database.transaction() as connection:
        await jobs.release(connection, lease, min(due_at, context.clock.now() + pause) if pause else due_at)


def _retried_at(state: Reconciliation, began: datetime) -> datetime:
    """When a failed comparison is repeated: the longer it was due, the later."""
    wanted = state.wanted_at
    due_since = wanted if wanted is not None and state.reconciled_at < wanted else state.reconciled_at + EVERY
    return began + max(3 * AGAIN, min((began - due_since) / AGE_SHARE, PAUSE_MAX))


async def _compare(
    context: Context, lease: JobLease, operator: Operator, monta: MontaClient, state: Reconciliation
) -> datetime:
    """Compares Monta's charges with our sessions, then releases held starts. Sessions get their reports, the rest are
    kept as orphans. Returns when to compare again."""
    began = context.clock.now()
    deep = state.deep_at is None or began - state.deep_at >= DEEP_EVERY
    since = state.reconciled_at - OVERLAP - _behind(operator)
    try:
        listing = await monta.list_charges(
            min(since, began - DEEP_REACH) if deep else since, purpose=Purpose.SWEEP
        )
    except MontaError as error:
        log.warning("reconciliation_failed", operator_id=operator.id, error=str(error))
        async with context.database.transaction() as connection:
            next_at = _retried_at(state, began)
            await operator_state.note_reconcile_problem(connection, operator.id, str(error), next_at=next_at)
        return next_at
    young = await _sort_out(context, lease, operator, listing, began)
    problem = _problem(listing)
    next_at = began + (YOUNG if young else EVERY)
    await _note(context, lease, began, deep=deep, next_at=next_at, problem=problem)
    await _let_starts_go(context, lease)
    if problem:
        log.error("reconciliation_incomplete", operator_id=operator.id, problem=problem)
    return next_at


@retry_on_serialization_failure
async def _note(
    context: Context, lease: JobLease, began: datetime, *, deep: bool, next_at: datetime, problem: str | None
) -> None:
    async with context.database.transaction() as connection:
        await _fence(connection, lease)
        await operator_state.note_reconciled(
            connection, lease.operator_id, began, deep=deep, next_at=next_at, problem=problem
        )


@retry_on_serialization_failure
async def _let_starts_go(context: Context, lease: JobLease) -> None:
    """Releases held starts in a transaction of its own. Ingest locks sessions first, and this job's row after them."""
    async with context.database.transaction() as connection:
        await operator_sessions.wake_authorized(connection, lease.operator_id, context.clock.now())


def _behind(operator: Operator) -> timedelta:
    """Returns how far Monta's clock is behind ours. Its lists filter by its own clock."""
    return min(timedelta(seconds=max(0, -(operator.monta_clock_ahead_s or 0))), MOST_BEHIND)


def _problem(listing: ChargeListing) -> str | None:
    if not listing.complete:
        return "Monta's list was cut: not all charges could be compared"
    return f"{listing.unreadable} charges in Monta's list cannot be read" if listing.unreadable else None


async def _sort_out(
    context: Context, lease: JobLease, operator: Operator, listing: ChargeListing, now: datetime
) -> bool:
    """Sorts listed charges into ours, orphans and others'. Returns whether one of our form was too young to be
    checked."""
    await _learn_currencies(context, operator.id, listing)
    of_form = [c for c in listing.listed() if has_our_form(c.report.partner_external_id)]
    old = [c for c in of_form if not is_young(c.report, now)]
    for first in range(0, len(old), BATCH):
        await _sort_batch(context, lease, operator, old[first : first + BATCH])
    return len(old) < len(of_form)


async def _learn_currencies(context: Context, operator_id: OperatorId, listing: ChargeListing) -> None:
    """Learns charge points' currencies from all listed charges. Not only ours."""
    seen = [charged for report in listing.charges if (charged := currencies.charged(report)) is not None]
    async with context.database.transaction() as connection:
        await currencies.note(connection, operator_id, seen)


async def _sort_batch(
    context: Context, lease: JobLease, operator: Operator, charges: Sequence[ListedCharge]
) -> None:
    references = [SessionId(c.report.partner_external_id or "") for c in charges]
    async with context.database.transaction() as connection:
        await _fence(connection, lease)
        known = await operator_sessions.known_charges(connection, operator.id, references)
        providers = await terminals.providers_of(connection, operator.id)
        for charge in charges:
            if charge.report.partner_external_id not in known:
                await _keep_orphan(connection, operator, charge, providers)
    news = [
        c.report
        for c in charges
        if (session := known.get(c.report.partner_external_id or "")) is not None
        and _is_news(c.report, session)
    ]
    async with context.database.transaction() as connection:
        await polled_reports.keep(connection, operator.id, news, context.clock.now())


async def _keep_orphan(
    connection: Connection, operator: Operator, charge: ListedCharge, providers: frozenset[str]
) -> None:
    objection = objection_to(charge, providers, operator.paying_team_id)
    if await orphans.keep(connection, operator.id, charge, objection=objection):
        log.error(
            "orphan_charge_found",
            operator_id=operator.id,
            charge_id=charge.report.id,
            reference=charge.report.partner_external_id,
            state=charge.report.state,
            objection=objection,
        )


def _is_news(report: ChargeReport, session: KnownCharge) -> bool:
    """Whether a listed charge is news to its session. It was not adopted, or, of an ended session, running or with
    another final price, currency or energy. Sessions follow everything else by themselves."""
    if report.id != session.charge_id:
        return True
    if session.settled_minor is None or session.settled_wh is None:
        return False
    if report.state is not ChargeState.COMPLETED:
        return report.state not in ENDED
    if report.currency not in (None, session.currency):
        return True
    if report.energy_wh is not None and abs(report.energy_wh - session.settled_wh) >= BLUR_WH:
        return True
    if report.price is None:
        return False
    return max(0, to_minor(report.price, session.currency, Rounding.HALF_UP)) != session.settled_minor


async def _follow_orphans(context: Context, lease: JobLease, monta: MontaClient) -> timedelta | None:
    """Stops running orphans and reads ended ones until they are completed. Returns when to repeat, or None."""
    async with context.database.transaction() as connection:
        await orphans.forget_adopted(connection, lease.operator_id)
        since = context.clock.now() - ORPHANS_FOR
        found = await orphans.unfinished(connection, lease.operator_id, MAX_ORPHANS, found_since=since)
    for orphan in found:
        await _mind(context, lease, monta, orphan)
    now = context.clock.now()
    return min((_pause(orphan, now) for orphan in found), default=None)


def _pause(orphan: Orphan, now: datetime) -> timedelta:
    least = FINAL_READ if orphan.state in ENDED else AGAIN
    return max(least, min((now - orphan.found_at) / AGE_SHARE, PAUSE_MAX))


async def _mind(context: Context, lease: JobLease, monta: MontaClient, orphan: Orphan) -> None:
    async with context.database.transaction() as connection:
        await _fence(connection, lease)
    try:
        report = await monta.get_charge(orphan.charge_id, purpose=Purpose.START)
        stops = report.state not in ENDED
        if stops:
            report = await monta.stop_charge(orphan.charge_id)
    except MontaError as error:
        async with context.database.transaction() as connection:
            await orphans.note_problem(connection, orphan.operator_id, orphan.charge_id, str(error))
        return
    async with context.database.transaction() as connection:
        await _fence(connection, lease)
        await orphans.see(connection, orphan.operator_id, report, stopped=stops)


async def _fence(connection: Connection, lease: JobLease) -> None:
    if not await jobs.held(connection, lease):
        raise NotOurs(lease)
