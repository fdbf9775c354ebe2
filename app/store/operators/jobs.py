"""Stores an operator's jobs, each with a due time and lease. Claimed by one replica."""

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import bindparam, case, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.dml import ReturningUpdate

from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId
from app.store.db.connection import Connection
from app.store.db.database import DUE_CHANNEL
from app.store.db.statements import are_any
from app.store.tables import operator_jobs
from app.store.tables.base import Moment

D = operator_jobs
ASKED_MEANWHILE = D.c.due_at < D.c.lease_until
"""A claim moves the due time to its own end. An earlier one was set by another transaction since."""


class Job(StrEnum):
    SYNC = "sync"
    """Sync the webhook's registration, charge points and prices; prune old entries."""
    SWEEP = "sweep"
    """Read silent charges, many with one call; due when a session asks."""
    RECONCILE = "reconcile"
    """Compare Monta's list with our sessions. Stop charges of ours that no session knows."""
    CHECK_CREDENTIAL = "check_credential"
    """Check whether Monta refuses the credential permanently; due when a call was refused."""
    CHARGE_POINTS = "charge_points"
    """Apply webhook news of charge points and price groups; due when one came."""
    OVERDUE_CAPTURES = "overdue_captures"
    """Flag settlements whose capture result is overdue."""


@frozen
class JobLease:
    """A claim on one job; its token fences later writes."""

    operator_id: OperatorId
    job: Job
    token: int


async def add(connection: Connection, operator_id: OperatorId, due: dict[Job, datetime | None]) -> None:
    """Adds the jobs of a new operator."""
    rows = [{"operator_id": operator_id, "job": job, "due_at": at} for job, at in due.items()]
    await connection.execute(insert(D), rows)


def _claim() -> ReturningUpdate[tuple[str, str, int]]:
    now, until = bindparam("now", type_=D.c.due_at.type), bindparam("until", type_=D.c.due_at.type)
    due = (
        select(D.c.operator_id, D.c.job)
        .where(D.c.due_at <= now, or_(D.c.lease_until.is_(None), D.c.lease_until <= now))
        .order_by(D.c.due_at, D.c.operator_id, D.c.job)
        .limit(1)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    return (
        update(D)
        .where(D.c.operator_id == due.c.operator_id, D.c.job == due.c.job)
        .values(lease_token=D.c.lease_token + 1, lease_until=until, due_at=until)
        .returning(D.c.operator_id, D.c.job, D.c.lease_token)
    )


_CLAIM = _claim()
"""Built once: watchers execute it constantly, and building takes longer than executing."""


_MINE = (D.c.operator_id == bindparam("operator"), D.c.job == bindparam("kind"))
_OURS = (*_MINE, D.c.lease_token == bindparam("token"))
_HELD = select(D.c.job).where(*_OURS).with_for_update()
_RELEASE = (
    update(D)
    .where(*_OURS)
    .values(
        lease_until=None,
        due_at=case((ASKED_MEANWHILE, D.c.due_at), else_=bindparam("due", type_=Moment)),
    )
)
_PAUSE = update(D).where(*_OURS).values(lease_until=None, due_at=bindparam("due", type_=Moment))
_RESTED = select(D.c.job).where(*_MINE, D.c.due_at.is_(None))
_LOCK = select(D.c.due_at, D.c.lease_until).where(*_MINE).with_for_update()
_MAKE_DUE = update(D).where(*_MINE).values(due_at=bindparam("now"))


async def claim(connection: Connection, *, now: datetime, until: datetime) -> JobLease | None:
    """Claims the most overdue unleased job; None: there is none."""
    row = (await connection.execute(_CLAIM, {"now": now, "until": until})).one_or_none()
    return JobLease(OperatorId(row.operator_id), Job(row.job), row.lease_token) if row else None


async def lock(connection: Connection, job: Job, operator_id: OperatorId | None = None) -> None:
    """Locks one operator's job, or all in the order of ids. Writers of operators' rows lock jobs first, so that there
    is no deadlock."""
    query = select(D.c.job).where(D.c.job == job).order_by(D.c.operator_id)
    if operator_id is not None:
        query = query.where(D.c.operator_id == operator_id)
    await connection.execute(query.with_for_update())


async def held(connection: Connection, lease: JobLease) -> bool:
    """Whether the claim still stands. Then its row is locked until the transaction ends."""
    return (await connection.execute(_HELD, _of(lease))).one_or_none() is not None


async def renew(connection: Connection, leases: Collection[JobLease], until: datetime) -> None:
    """Renews claims whose work takes longer than a lease."""
    triples = sorted((lease.operator_id, lease.job.value, lease.token) for lease in leases)
    await connection.execute(
        update(D)
        .where(are_any((D.c.operator_id, D.c.job, D.c.lease_token), triples), D.c.lease_until.is_not(None))
        .values(lease_until=until, due_at=case((ASKED_MEANWHILE, D.c.due_at), else_=until))
    )


async def release(connection: Connection, lease: JobLease, due_at: datetime | None) -> None:
    """Releases a claim; the job is due again at `due_at`. Sooner when it was requested meanwhile."""
    await connection.execute(_RELEASE, _of(lease) | {"due": due_at})


async def pause(connection: Connection, lease: JobLease, until: datetime) -> None:
    """Releases the claim of a job that failed; it is not due before `until`, whoever requested it meanwhile."""
    await connection.execute(_PAUSE, _of(lease) | {"due": until})


async def has_rested(connection: Connection, operator_id: OperatorId, job: Job) -> bool:
    """Whether the job is neither planned nor running."""
    given = {"operator": operator_id, "kind": job}
    return (await connection.execute(_RESTED, given)).one_or_none() is not None


async def make_due(connection: Connection, operator_id: OperatorId, job: Job, now: datetime) -> None:
    """Makes a job due now; writes nothing when it is due already.

    Locks the row first and keeps it: a watcher that claims it before this commit would not see the request, and a job
    claimed meanwhile would not run again (F114).
    """
    mine = {"operator": operator_id, "kind": job}
    row = (await connection.execute(_LOCK, mine)).one_or_none()
    if row is not None and (row.due_at is None or row.due_at > now):
        await connection.execute(_MAKE_DUE, mine | {"now": now})
        connection.notify(DUE_CHANNEL)


async def request(connection: Connection, operator_id: OperatorId, job: Job, now: datetime) -> None:
    """Makes a job due now unless it is planned already. One that failed pauses, however many ask for it."""
    row = (await connection.execute(_LOCK, {"operator": operator_id, "kind": job})).one_or_none()
    runs = row is not None and row.lease_until is not None and row.lease_until > now
    if row is not None and (row.due_at is None or runs):
        await make_due(connection, operator_id, job, now)


def _of(lease: JobLease) -> dict[str, Any]:
    return {"operator": lease.operator_id, "kind": lease.job, "token": lease.token}
