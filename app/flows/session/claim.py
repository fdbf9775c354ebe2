"""Claims due sessions and jobs for a watcher. Renews and releases their leases."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from app.domain.session.machine import Change
from app.domain.session.monta_calls import stop_cut_short
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId
from app.flows.context import Context
from app.flows.saving import save
from app.store.operators import jobs
from app.store.operators.jobs import JobLease
from app.store.sessions import leases, payment_sessions
from app.store.sessions.leases import Lease

JOB_LEASE_S = 60.0


@frozen(kw_only=True)
class Capacity:
    """How much more work a watcher may claim."""

    stops: int
    """Sessions whose stop is due."""
    others: int
    """All other sessions."""
    jobs: int


async def is_anything_due(context: Context) -> bool:
    """Whether a claim would find a session or a job."""
    async with context.database.read(urgent=True) as connection:
        return await leases.is_anything_due(connection, context.clock.now())


async def claim_due(
    context: Context, *, owner: str, capacity: Capacity, busy: Mapping[OperatorId, int], per_operator: int
) -> tuple[list[Lease], JobLease | None]:
    """Claims due sessions and a due job. Those with a due stop first.

    `busy` counts the owner's running sessions by operator; with these, an operator gets `per_operator` at most, stops
    not counted.
    """
    now = context.clock.now()
    until = now + timedelta(seconds=context.lease_s)
    async with context.database.transaction(urgent=True) as connection:
        claimed = await leases.claim(
            connection, owner=owner, now=now, until=until, limit=capacity.stops, busy=busy, stops=True
        )
        if capacity.others > 0:
            await leases.postpone(connection, now)
            claimed += await leases.claim(
                connection,
                owner=owner,
                now=now,
                until=until,
                limit=capacity.others,
                busy=busy,
                per_operator=per_operator,
            )
        _observe_lateness(context, claimed, now)
        if capacity.jobs <= 0:
            return claimed, None
        until = now + timedelta(seconds=JOB_LEASE_S)
        return claimed, await jobs.claim(connection, now=now, until=until)


def _observe_lateness(context: Context, claimed: Collection[Lease], now: datetime) -> None:
    for lease in claimed:
        if lease.due_at is not None:
            context.telemetry.claimed((now - lease.due_at).total_seconds())


async def next_due_at(context: Context, *, stops: bool = False) -> datetime | None:
    """Returns the earliest due time of sessions and jobs. `stops`: of stops only. None: nothing is planned."""
    async with context.database.read() as connection:
        return await leases.next_due(connection, stops=stops)


async def renew_leases(
    context: Context, sessions: Collection[Lease], operator_jobs: Collection[JobLease]
) -> None:
    """Extends leases of work that goes on. By the session's lease from now."""
    until = context.clock.now() + timedelta(seconds=context.lease_s)
    async with context.database.transaction(urgent=True) as connection:
        if sessions:
            await leases.renew(connection, sessions, until)
        if operator_jobs:
            await jobs.renew(connection, operator_jobs, until)


async def release_unchanged(context: Context, lease: Lease, why: str) -> None:
    """Releases a session whose step could not run. It is due as before, and so is a stop that was perhaps not sent.

    One that is released already is left as it is: what came of its step was committed, and only the answer was lost.
    """
    now = context.clock.now()
    async with context.database.transaction(urgent=lease.for_stop) as connection:
        session = await payment_sessions.lock(connection, lease.session_id, lease_token=lease.token)
        if session is None:
            return
        change = stop_cut_short(Change(session), why)
        if change.lines:
            await save(context, connection, session, change, now)
        await leases.release_unchanged(connection, lease, now)


async def release_failed(context: Context, lease: Lease) -> None:
    """Releases a session whose step raised. It is retried after a pause that grows."""
    async with context.database.transaction(urgent=lease.for_stop) as connection:
        await leases.release_failed(connection, lease, context.clock.now())
