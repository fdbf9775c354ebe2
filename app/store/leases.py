"""Who works on what until when: due rows are claimed, and given back with their next due time."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Table, bindparam, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.selectable import CTE

from app.domain.ids import OperatorId, SessionId
from app.store.tables import operators, payment_sessions

P = payment_sessions
O = operators  # noqa: E741


ALARM_FAILURES = 3


@dataclass(frozen=True, slots=True)
class Lease:
    """A claim on one session: every later write carries `token`, so that a late worker changes nothing."""

    session_id: SessionId
    token: int


@dataclass(frozen=True, slots=True)
class OperatorLease:
    operator_id: OperatorId
    token: int


def _due(table: Table) -> CTE:
    """Rows that are due and that nobody works on, most overdue first; `now` and `most` come when it is executed."""
    now = bindparam("now", type_=table.c.due_at.type)
    return (
        select(table.c.id)
        .where(table.c.due_at <= now, or_(table.c.lease_until.is_(None), table.c.lease_until <= now))
        .order_by(table.c.due_at)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True)
        .cte("due")
    )


# Built once: watchers ask these of the database all the time, and building takes longer than asking.
_CLAIM = (
    update(P)
    .where(P.c.id.in_(select(_due(P).c.id)))
    .values(lease_token=P.c.lease_token + 1, lease_owner=bindparam("owner"), lease_until=bindparam("until"))
    .returning(P.c.id, P.c.lease_token)
)
_CLAIM_OPERATOR = (
    update(O)
    .where(O.c.id.in_(select(_due(O).c.id)))
    .values(lease_token=O.c.lease_token + 1, lease_until=bindparam("until"))
    .returning(O.c.id, O.c.lease_token)
)
_EXTEND = update(P).where(P.c.id == bindparam("session")).values(lease_until=bindparam("until"))
_GIVE_BACK = (
    update(P)
    .where(P.c.id == bindparam("session"))
    .values(due_at=bindparam("due"), lease_owner=None, lease_until=None, failures=0)
)


async def claim(
    connection: AsyncConnection, *, owner: str, now: datetime, until: datetime, limit: int
) -> list[Lease]:
    """Claim up to `limit` due sessions that nobody works on, most overdue first."""
    given = {"owner": owner, "now": now, "until": until, "most": limit}
    return [Lease(SessionId(row.id), row.lease_token) for row in await connection.execute(_CLAIM, given)]


async def extend(connection: AsyncConnection, lease: Lease, until: datetime) -> None:
    """Keep a claim for one more step; the row is locked and known to be ours."""
    await connection.execute(_EXTEND, {"session": lease.session_id, "until": until})


async def renew(connection: AsyncConnection, held: Collection[Lease], until: datetime) -> None:
    """Keep claims whose work takes longer than a lease; one that somebody else holds by now is left alone."""
    pairs = sorted((lease.session_id, lease.token) for lease in held)
    meant = (
        select(P.c.id)
        .where(tuple_(P.c.id, P.c.lease_token).in_(pairs), P.c.lease_until.is_not(None))
        .order_by(P.c.id)
        .with_for_update(skip_locked=True)
        .cte("meant")
    )
    await connection.execute(update(P).where(P.c.id.in_(select(meant.c.id))).values(lease_until=until))


async def give_back(connection: AsyncConnection, lease: Lease, due_at: datetime | None) -> None:
    """End a claim on a locked row; the session is due again at `due_at`."""
    await connection.execute(_GIVE_BACK, {"session": lease.session_id, "due": due_at})


async def give_back_failed(connection: AsyncConnection, lease: Lease, now: datetime) -> int | None:
    """End a claim whose handler crashed: due again after 2, 4, 8, ... 256 seconds; from the third crash in a row on a
    person is asked to look. Returns the crashes in a row."""
    query = (
        update(P)
        .where(P.c.id == lease.session_id, P.c.lease_token == lease.token)
        .values(
            failures=P.c.failures + 1,
            needs_attention=or_(P.c.needs_attention, P.c.failures + 1 >= ALARM_FAILURES),
            due_at=now + func.make_interval(0, 0, 0, 0, 0, 0, func.power(2, func.least(P.c.failures + 1, 8))),
            lease_owner=None,
            lease_until=None,
        )
        .returning(P.c.failures)
    )
    failures: int | None = (await connection.execute(query)).scalar_one_or_none()
    return failures


async def next_due(connection: AsyncConnection) -> datetime | None:
    """When the next session or operator that nobody works on falls due; None: nothing is planned.

    Claims that were never given back are not counted: whoever waits looks again within a second or so anyway.
    """
    times = []
    for table in (P, O):
        query = select(table.c.due_at).where(table.c.due_at.is_not(None), table.c.lease_until.is_(None))
        times.append((await connection.execute(query.order_by(table.c.due_at).limit(1))).scalar())
    return min((t for t in times if t is not None), default=None)


async def oldest_due(connection: AsyncConnection, now: datetime) -> datetime | None:
    """The due time that has been waiting longest."""
    query = select(func.min(P.c.due_at)).where(P.c.due_at <= now)
    found: datetime | None = (await connection.execute(query)).scalar()
    return found


async def claim_operator(
    connection: AsyncConnection, *, now: datetime, until: datetime
) -> OperatorLease | None:
    """Claim one operator whose upkeep is due."""
    given = {"now": now, "until": until, "most": 1}
    row = (await connection.execute(_CLAIM_OPERATOR, given)).one_or_none()
    return OperatorLease(OperatorId(row.id), row.lease_token) if row else None


async def give_back_operator(connection: AsyncConnection, lease: OperatorLease, due_at: datetime) -> None:
    await connection.execute(
        update(O)
        .where(O.c.id == lease.operator_id, O.c.lease_token == lease.token)
        .values(due_at=due_at, lease_until=None)
    )
