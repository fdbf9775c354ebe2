"""Reconciliation: Monta's list against our sessions, so that no charge of ours is forgotten, whatever was restored."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from app.domain.charge import ENDED, ChargeReport, ChargeState
from app.domain.ids import ChargeId, OperatorId, SessionId
from app.domain.late_facts import BLUR_WH
from app.domain.money import Rounding, to_minor
from app.domain.orphan import YOUNG, ListedCharge, doubt_of, has_our_form, is_young
from app.flows.tools import HOLD_STARTS, Tools
from app.monta.client import MontaClient
from app.monta.errors import MontaError
from app.monta.listing import ChargeListing
from app.monta.ports import Purpose
from app.store import currencies, duties, operator_sessions, operator_state, orphans, sightings, terminals
from app.store.conflicts import again_after_conflict
from app.store.database import Connection
from app.store.duties import Duty, DutyLease
from app.store.operator_sessions import KnownCharge
from app.store.operator_state import Reconciliation
from app.store.operators import Operator
from app.store.orphans import Orphan

log = structlog.get_logger("reconcile")

EVERY = timedelta(hours=1)
"""What was updated since the last comparison is compared so often."""
DEEP_EVERY = timedelta(days=1)
DEEP_REACH = timedelta(hours=48)
"""Once a day the last two days are compared as a whole, final prices too."""
OVERLAP = timedelta(minutes=10)
"""Comparisons overlap: Monta's lists lag, and young charges are left for the next one."""
MOST_BEHIND = timedelta(days=30)
AGAIN = timedelta(seconds=10)
"""A running orphan is stopped again so soon at first; a comparison that failed is made again after three times that."""
FINAL_LOOK = timedelta(minutes=1)
AGE_SHARE = 4
ORPHAN_PAUSE_MAX = timedelta(minutes=5)
"""The longer an orphan has been known, the longer it waits: a quarter of its age, so much at most."""
ORPHANS_FOR = timedelta(days=7)
"""One that does not end in so long is left to people, who have it in their list."""
MAX_ORPHANS = 50
"""Stopped or read in one go."""
BATCH = 200


class NotOurs(Exception):
    """The duty was taken over by somebody else: what was going to be done is theirs to find out."""


@again_after_conflict
async def demand(tools: Tools) -> None:
    """This process begins, or the database has forgotten something: compare all operators before anything starts."""
    now = tools.clock.now()
    async with tools.database.transaction() as connection:
        await duties.lock(connection, Duty.RECONCILE)
        for operator_id in await operator_state.want_reconciliation(connection, now, patience=HOLD_STARTS):
            await duties.make_due(connection, operator_id, Duty.RECONCILE, now)


async def close_orphan(
    tools: Tools, operator_id: OperatorId | None, charge_id: ChargeId, *, because: str
) -> Orphan | None:
    """A person is done with it; None: there is none that the caller may see.

    Raises orphans.SeveralOrphans: without an operator, where more than one has a charge of this id.
    """
    async with tools.database.transaction() as connection:
        return await orphans.close(connection, operator_id, charge_id, because=because, now=tools.clock.now())


async def reconcile(tools: Tools, lease: DutyLease) -> None:
    """Never raises for Monta's sake: what went wrong is noted for operations and tried again soon."""
    async with tools.database.transaction() as connection:
        operator = await tools.operators.get(connection, lease.operator_id)
        state = await operator_state.reconciliation(connection, lease.operator_id)
    if operator is None or state is None:
        return
    monta = tools.monta.of(operator)
    now = tools.clock.now()
    due_at = _compared_next(state)
    if due_at <= now:
        due_at = await _compare(tools, lease, operator, monta, state)
    pause = await _mind_orphans(tools, lease, monta)
    async with tools.database.transaction() as connection:
        await duties.give_back(connection, lease, min(due_at, tools.clock.now() + pause) if pause else due_at)


def _compared_next(state: Reconciliation) -> datetime:
    wanted = state.wanted_at
    return wanted if wanted is not None and state.reconciled_at < wanted else state.due_at


async def _compare(
    tools: Tools, lease: DutyLease, operator: Operator, monta: MontaClient, state: Reconciliation
) -> datetime:
    """1. List. 2. What sessions do not know goes to them, what no session knows becomes an orphan. 3. Note how far we
    got, and let waiting starts go. Returns when to compare again."""
    began = tools.clock.now()
    deep = state.deep_at is None or began - state.deep_at >= DEEP_EVERY
    since = state.reconciled_at - OVERLAP - _behind(operator)
    try:
        listing = await monta.list_charges(
            min(since, began - DEEP_REACH) if deep else since, purpose=Purpose.SWEEP
        )
    except MontaError as error:
        log.warning("reconciliation_failed", operator_id=operator.id, error=str(error))
        async with tools.database.transaction() as connection:
            next_at = began + 3 * AGAIN
            await operator_state.note_reconcile_problem(connection, operator.id, str(error), next_at=next_at)
        return next_at
    young = await _sort_out(tools, lease, operator, listing, began)
    problem = _problem(listing)
    next_at = began + (YOUNG if young else EVERY)
    await _note(tools, lease, began, deep=deep, next_at=next_at, problem=problem)
    await _let_starts_go(tools, lease)
    if problem:
        log.error("reconciliation_incomplete", operator_id=operator.id, problem=problem)
    return next_at


@again_after_conflict
async def _note(
    tools: Tools, lease: DutyLease, began: datetime, *, deep: bool, next_at: datetime, problem: str | None
) -> None:
    async with tools.database.transaction() as connection:
        await _fence(connection, lease)
        await operator_state.note_reconciled(
            connection, lease.operator_id, began, deep=deep, next_at=next_at, problem=problem
        )


@again_after_conflict
async def _let_starts_go(tools: Tools, lease: DutyLease) -> None:
    """By itself: whoever keeps entries locks sessions first, and this duty's row after them."""
    async with tools.database.transaction() as connection:
        await operator_sessions.wake_authorized(connection, lease.operator_id, tools.clock.now())


def _behind(operator: Operator) -> timedelta:
    """Monta's list is asked by Monta's clock: where that is slow, what is new there looks old."""
    return min(timedelta(seconds=max(0, -(operator.monta_clock_ahead_s or 0))), MOST_BEHIND)


def _problem(listing: ChargeListing) -> str | None:
    if not listing.complete:
        return "Monta's list was cut: not all charges could be compared"
    return f"{listing.unreadable} charges in Monta's list cannot be read" if listing.unreadable else None


async def _sort_out(
    tools: Tools, lease: DutyLease, operator: Operator, listing: ChargeListing, now: datetime
) -> bool:
    """Whether some charge of our form was too young to be judged."""
    await _learn_currencies(tools, operator.id, listing)
    of_form = [c for c in listing.listed() if has_our_form(c.report.partner_external_id)]
    old = [c for c in of_form if not is_young(c.report, now)]
    for first in range(0, len(old), BATCH):
        await _sort_batch(tools, lease, operator, old[first : first + BATCH])
    return len(old) < len(of_form)


async def _learn_currencies(tools: Tools, operator_id: OperatorId, listing: ChargeListing) -> None:
    """What anybody's charges ran in at our charge points: a site's new currency is known without a charge of ours."""
    seen = [charged for report in listing.charges if (charged := currencies.charged(report)) is not None]
    async with tools.database.transaction() as connection:
        await currencies.note(connection, operator_id, seen)


async def _sort_batch(
    tools: Tools, lease: DutyLease, operator: Operator, charges: Sequence[ListedCharge]
) -> None:
    references = [SessionId(c.report.partner_external_id or "") for c in charges]
    async with tools.database.transaction() as connection:
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
    async with tools.database.transaction() as connection:
        await sightings.keep(connection, operator.id, news, tools.clock.now())


async def _keep_orphan(
    connection: Connection, operator: Operator, charge: ListedCharge, providers: frozenset[str]
) -> None:
    doubt = doubt_of(charge, providers, operator.paying_team_id)
    if await orphans.keep(connection, operator.id, charge, doubt=doubt):
        log.error(
            "orphan_charge_found",
            operator_id=operator.id,
            charge_id=charge.report.id,
            reference=charge.report.partner_external_id,
            state=charge.report.state,
            doubt=doubt,
        )


def _is_news(report: ChargeReport, session: KnownCharge) -> bool:
    """A charge that its session has not adopted, or of an ended session what is not as it was settled: it runs, or its
    final price, currency or energy differs. All else sessions follow by themselves."""
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


async def _mind_orphans(tools: Tools, lease: DutyLease, monta: MontaClient) -> timedelta | None:
    """Stop those that run, read those that ended until they are completed; returns when to look again, or None."""
    async with tools.database.transaction() as connection:
        await orphans.forget_adopted(connection, lease.operator_id)
        since = tools.clock.now() - ORPHANS_FOR
        found = await orphans.unfinished(connection, lease.operator_id, MAX_ORPHANS, found_since=since)
    for orphan in found:
        await _mind(tools, lease, monta, orphan)
    now = tools.clock.now()
    return min((_pause(orphan, now) for orphan in found), default=None)


def _pause(orphan: Orphan, now: datetime) -> timedelta:
    least = FINAL_LOOK if orphan.state in ENDED else AGAIN
    return max(least, min((now - orphan.found_at) / AGE_SHARE, ORPHAN_PAUSE_MAX))


async def _mind(tools: Tools, lease: DutyLease, monta: MontaClient, orphan: Orphan) -> None:
    async with tools.database.transaction() as connection:
        await _fence(connection, lease)
    try:
        report = await monta.get_charge(orphan.charge_id, purpose=Purpose.START)
        stops = report.state not in ENDED
        if stops:
            report = await monta.stop_charge(orphan.charge_id)
    except MontaError as error:
        async with tools.database.transaction() as connection:
            await orphans.note_problem(connection, orphan.operator_id, orphan.charge_id, str(error))
        return
    async with tools.database.transaction() as connection:
        await _fence(connection, lease)
        await orphans.see(connection, orphan.operator_id, report, stopped=stops)


async def _fence(connection: Connection, lease: DutyLease) -> None:
    if not await duties.held(connection, lease):
        raise NotOurs(lease)
