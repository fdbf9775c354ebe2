"""Runs what was claimed. A session goes step by step until it waits, an operator's job to its end."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import assert_never

from app.domain.session.machine import ReadCharge, SearchCharges, SendStart, SendStop, StopDuplicate, Wait
from app.flows.context import Context
from app.flows.operator.check_credential import check_credential
from app.flows.operator.check_evidence import check_evidence
from app.flows.operator.overdue_captures import flag_overdue_captures
from app.flows.operator.reconcile import reconcile
from app.flows.operator.sweep import sweep
from app.flows.operator.sync import apply_charge_point_news, sync_operator
from app.flows.session.advance import yield_session
from app.flows.session.read_charge import read_charge
from app.flows.session.start_charge import learn_charge_point, note_clock, search_charges, start_charge
from app.flows.session.stop_charge import stop_charge, stop_duplicate
from app.flows.traces import session_attributes
from app.flows.turns import Advanced, Edit, Turns
from app.store.operators.jobs import Job, JobLease
from app.store.sessions.leases import Lease
from app.tracing import Kind, Span

MAX_STEPS = 25
"""Steps in one claim. A session that needs more is due again at once, after the others."""

SPAN_NAMES: Mapping[type[object], str] = {
    SendStart: "start charge",
    SearchCharges: "search charges",
    ReadCharge: "read charge",
    SendStop: "stop charge",
    StopDuplicate: "stop duplicate charge",
}


async def run_steps(context: Context, turns: Turns, lease: Lease) -> None:
    """Runs a session step by step until it waits. Its next decision is committed with what came of its last call."""
    decided: Advanced | None = None
    outcome: Edit | None = None
    for _ in range(MAX_STEPS):
        decided = await _advanced(context, turns, lease, decided, outcome)
        outcome = None
        if not isinstance(decided.step, Wait):
            with _traced(context, decided):
                outcome = await _call(context, turns, lease, decided)
        elif decided.released:
            return
    if decided is not None and outcome is not None:
        await turns.commit(lease, decided, outcome)
    await yield_session(context, lease)


def _traced(context: Context, decided: Advanced) -> AbstractContextManager[Span]:
    """A span of a decided call, in the trace that began with the terminal's."""
    session = decided.session
    name = SPAN_NAMES[type(decided.step)]
    return context.tracing.span(name, Kind.INTERNAL, session_attributes(session), parent=session.traceparent)


async def _advanced(
    context: Context, turns: Turns, lease: Lease, previous: Advanced | None, outcome: Edit | None
) -> Advanced:
    """The next decision. What a start or a search has shown of Monta's clock is recorded."""
    decided = await turns.advance(lease, previous, outcome)
    called = None if previous is None else previous.step
    if isinstance(called, SendStart | SearchCharges) and decided.session.charge is not None:
        await note_clock(context, decided.session)
    return decided


async def _call(context: Context, turns: Turns, lease: Lease, decided: Advanced) -> Edit | None:
    """Makes the decided call, whose intent is committed. Returns what came of it, to be committed; None: it is."""
    session = decided.session
    match decided.step:
        case SendStart():
            return await _start(context, turns, lease, decided)
        case SearchCharges():
            return await search_charges(context, session)
        case ReadCharge(charge_id):
            return await read_charge(context, session, charge_id)
        case SendStop():
            return await stop_charge(context, lease, session)
        case StopDuplicate(charge_id):
            return await stop_duplicate(context, session, charge_id)
        case Wait():
            return None
        case _:
            assert_never(decided.step)


async def _start(context: Context, turns: Turns, lease: Lease, decided: Advanced) -> Edit | None:
    """Starts the charge. The next decision depends on the charge point's rating: it is read first if it is unknown."""
    outcome = await start_charge(context, decided)
    if decided.session.power_bound_w is not None:
        return outcome
    if (await turns.commit(lease, decided, outcome)).charge is not None:
        await learn_charge_point(context, decided.session)
    return None


async def run_job(context: Context, lease: JobLease) -> None:
    """Runs one job of an operator to its end."""
    match lease.job:
        case Job.SYNC:
            await sync_operator(context, lease)
        case Job.SWEEP:
            await sweep(context, lease)
        case Job.RECONCILE:
            await reconcile(context, lease)
        case Job.CHARGE_POINTS:
            await apply_charge_point_news(context, lease)
        case Job.CHECK_CREDENTIAL:
            await check_credential(context, lease)
        case Job.OVERDUE_CAPTURES:
            await check_evidence(context, lease.operator_id)
            await flag_overdue_captures(context, lease)
        case _:
            assert_never(lease.job)
