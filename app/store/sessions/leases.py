"""Leases due sessions to watchers. Claimed by due time, released with the next one."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from datetime import datetime

from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    ColumnElement,
    Integer,
    Select,
    Text,
    Update,
    and_,
    any_,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.dml import ReturningUpdate

from app.domain.session.machine import Wait
from app.domain.session.payment_session import PaymentSession
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId, SessionId
from app.store.db.connection import Connection
from app.store.db.database import DUE_CHANNEL
from app.store.db.statements import are_any
from app.store.tables import kept_readings, operator_jobs, operators, payment_sessions

P = payment_sessions
R = kept_readings
O = operators  # noqa: E741


ATTENTION_FAILURES = 3
NO_BOUND = 2**31 - 1
POSTPONED_AT_ONCE = 500
"""Due sessions of one operator that are looked at together: their due time may have to move."""


@frozen
class Lease:
    """A claim on one session. Every later write carries `token`, which fences off late workers."""

    session_id: SessionId
    token: int
    operator_id: OperatorId = field(default=OperatorId(""), compare=False)
    """Whose session it is; used for fairness only."""
    due_at: datetime | None = field(default=None, compare=False)
    """When it fell due; used for metrics only."""
    for_stop: bool = field(default=False, compare=False)
    """Claimed for a stop that is due: its transactions use the connections that are kept for stops."""


def _claim(due_at: Column[datetime]) -> ReturningUpdate[tuple[str, int, str, datetime | None]]:
    """Builds a claim statement for what is due by a column. Parameters: `now`, `until`, `owner`, `busy` (counts by
    operator), and three bounds: `each` for new claims of one operator, `bound` for these and what it has in work,
    `most` for all claims."""
    now = bindparam("now", type_=P.c.due_at.type)
    in_work = bindparam("busy", type_=JSONB)
    free = (due_at <= now, or_(P.c.lease_until.is_(None), P.c.lease_until <= now))
    first = (
        select(P.c.id, due_at, func.row_number().over(order_by=due_at).label("number"))
        .where(P.c.operator_id == O.c.id, *free)
        .order_by(due_at)
        .limit(bindparam("each", type_=Integer()))
        .lateral("first")
    )
    busy_here = func.coalesce(in_work[O.c.id].astext.cast(Integer), 0)
    place = (busy_here + first.c.number).label("place")
    fair = select(first.c.id, first.c[due_at.name], place).select_from(O.join(first, true()))
    fair = fair.where(busy_here + first.c.number <= bindparam("bound", type_=Integer()))
    most = bindparam("most", type_=Integer())
    chosen = fair.order_by(place, first.c[due_at.name]).limit(most).cte("chosen")
    due = (
        select(P.c.id)
        .where(P.c.id.in_(select(chosen.c.id)), *free)
        .order_by(due_at)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    return (
        update(P)
        .where(P.c.id.in_(select(due.c.id)))
        .values(
            lease_token=P.c.lease_token + 1, lease_owner=bindparam("owner"), lease_until=bindparam("until")
        )
        .returning(P.c.id, P.c.lease_token, P.c.operator_id, due_at.label("due_at"))
    )


def _wake(due_at: Column[datetime]) -> Update:
    """Builds the statement that makes sessions due now. By this column, and by `due_at`."""
    now = bindparam("now", type_=P.c.due_at.type)
    return (
        update(P)
        .where(
            P.c.id == any_(bindparam("sessions", type_=ARRAY(Text))),
            or_(due_at.is_(None), due_at > now, P.c.due_at > now, P.c.silence_due_at.is_not(None)),
        )
        .values({P.c.due_at: now, due_at: now, P.c.silence_due_at: None})
    )


# Built once: watchers execute these constantly, and building takes longer than executing.
_CLAIM = {False: _claim(P.c.due_at), True: _claim(P.c.stop_due_at)}
_WAKE = {False: _wake(P.c.due_at), True: _wake(P.c.stop_due_at)}
_RESCHEDULE = (
    update(P)
    .where(P.c.id == bindparam("session"))
    .values(
        due_at=bindparam("due"), stop_due_at=bindparam("stop_due"), silence_due_at=bindparam("silence_due")
    )
)


def _postpone() -> Update:
    """Builds the statement for sessions that are due for silence only. Looks at the first that are due, no more."""
    now = bindparam("now", type_=P.c.due_at.type)
    later = func.least(R.c.due_at, R.c.silent_at)
    free = (P.c.due_at <= now, or_(P.c.lease_until.is_(None), P.c.lease_until <= now))
    silent = (P.c.silence_due_at == P.c.due_at, or_(P.c.stop_due_at.is_(None), P.c.stop_due_at > now))
    first = (
        select(P.c.id, and_(*silent).label("silent"))
        .where(P.c.operator_id == O.c.id, *free)
        .order_by(P.c.due_at)
        .limit(POSTPONED_AT_ONCE)
        .lateral("first")
    )
    chosen = select(first.c.id).select_from(O.join(first, true())).where(first.c.silent).cte("chosen")
    locked = (
        select(P.c.id, later.label("later"))
        .select_from(P.join(chosen, chosen.c.id == P.c.id).join(R, R.c.session_id == P.c.id))
        .where(*free, *silent, R.c.allowed.is_not(None), later > now)
        .with_for_update(of=P, skip_locked=True)
        .cte("locked")
    )
    return update(P).where(P.c.id == locked.c.id).values(due_at=locked.c.later, silence_due_at=locked.c.later)


_POSTPONE = _postpone()
_UNSEEN = func.jsonb_path_exists(
    P.c.body, text("'$.attention[*] ? (@.acknowledged == null)'"), type_=Boolean()
)
"""Attention in the document itself. Attention raised for a crashed handler ends once the handler works again."""
_RELEASE = (
    update(P)
    .where(P.c.id == bindparam("session"))
    .values(
        due_at=bindparam("due"),
        stop_due_at=bindparam("stop_due"),
        silence_due_at=bindparam("silence_due"),
        lease_owner=None,
        lease_until=None,
        failures=0,
        needs_attention=case((P.c.failures >= ATTENTION_FAILURES, _UNSEEN), else_=P.c.needs_attention),
    )
)


async def postpone(connection: Connection, now: datetime) -> None:
    """Moves the due times of silent sessions that got readings. Of those that are due for their charge's silence
    only."""
    await connection.execute(_POSTPONE, {"now": now})


async def claim(
    connection: Connection,
    *,
    owner: str,
    now: datetime,
    until: datetime,
    limit: int,
    busy: Mapping[OperatorId, int] | None = None,
    per_operator: int | None = None,
    stops: bool = False,
) -> list[Lease]:
    """Claims up to `limit` due sessions, overdue first, fairly across operators. Unleased ones. The operator with the
    fewest claims (`busy`, and those before it here) comes first, and none gets more than `per_operator`.

    `stops`: only sessions whose stop is due. Reads no more due sessions of one operator than could be claimed.
    """
    given = {"owner": owner, "now": now, "until": until, "busy": dict(busy or {}), "most": limit}
    given |= {"each": limit if per_operator is None else min(limit, per_operator)}
    given |= {"bound": NO_BOUND if per_operator is None else per_operator}
    rows = await connection.execute(_CLAIM[stops], given)
    return [
        Lease(SessionId(r.id), r.lease_token, OperatorId(r.operator_id), r.due_at, for_stop=stops)
        for r in rows
    ]


async def wake(
    connection: Connection, session_ids: Sequence[str], now: datetime, *, for_stop: bool = False
) -> None:
    """Makes locked sessions due now, and notifies watchers. Locked by an earlier statement of this transaction.
    `for_stop`: before all others.

    Lock and check in two statements: within one, a row that was waited for is checked by the version that the statement
    began with. If a watcher released the session meanwhile, it would count as due and not be woken (F114).
    """
    if session_ids:
        woken = await connection.execute(_WAKE[for_stop], {"sessions": list(session_ids), "now": now})
        if woken.rowcount:
            connection.notify(DUE_CHANNEL)


async def reschedule(connection: Connection, due: Mapping[str, Wait], now: datetime) -> None:
    """Sets when locked sessions are due. Notifies watchers where that is now."""
    rows = [{"session": session_id} | _due(wait) for session_id, wait in sorted(due.items())]
    if rows:
        await connection.execute(_RESCHEDULE, rows if len(rows) > 1 else rows[0])
    if any(wait.until is not None and wait.until <= now for wait in due.values()):
        connection.notify(DUE_CHANNEL)


def _due(wait: Wait) -> dict[str, object]:
    silence_due = wait.until if wait.for_silence else None
    return {"due": wait.until, "stop_due": wait.stop_at, "silence_due": silence_due}


def extended(until: datetime) -> dict[str, object]:
    """The columns that extend a claim."""
    return {"lease_until": until}


def released(session: PaymentSession, wait: Wait) -> dict[str, object]:
    """The columns that release a claim. Attention raised for a crashed handler ends."""
    return {
        "due_at": wait.until,
        "stop_due_at": wait.stop_at,
        "silence_due_at": wait.until if wait.for_silence else None,
        "lease_owner": None,
        "lease_until": None,
        "failures": 0,
        "needs_attention": session.needs_attention,
    }


async def renew(connection: Connection, held: Collection[Lease], until: datetime) -> None:
    """Renews claims whose work takes longer than a lease. Skips those that another worker holds by now."""
    pairs = sorted((lease.session_id, lease.token) for lease in held)
    meant = (
        select(P.c.id)
        .where(are_any((P.c.id, P.c.lease_token), pairs), P.c.lease_until.is_not(None))
        .order_by(P.c.id)
        .with_for_update(skip_locked=True)
        .cte("meant")
    )
    await connection.execute(update(P).where(P.c.id.in_(select(meant.c.id))).values(lease_until=until))


async def release(connection: Connection, lease: Lease, wait: Wait) -> None:
    """Releases a claim on a locked row. The session is due again when `wait` ends."""
    await connection.execute(_RELEASE, {"session": lease.session_id} | _due(wait))


async def release_failed(connection: Connection, lease: Lease, now: datetime) -> int | None:
    """Releases a claim whose handler crashed, with backoff. Due after 2, 4, 8, ... 256 seconds. The third crash in a
    row raises attention. Returns the crashes in a row."""
    again_at = now + func.make_interval(0, 0, 0, 0, 0, 0, func.power(2, func.least(P.c.failures + 1, 8)))
    query = (
        update(P)
        .where(P.c.id == lease.session_id, P.c.lease_token == lease.token)
        .values(
            failures=P.c.failures + 1,
            needs_attention=or_(P.c.needs_attention, P.c.failures + 1 >= ATTENTION_FAILURES),
            due_at=again_at,
            stop_due_at=case((P.c.stop_due_at.is_not(None), func.greatest(P.c.stop_due_at, again_at))),
            lease_owner=None,
            lease_until=None,
        )
        .returning(P.c.failures)
    )
    failures: int | None = (await connection.execute(query)).scalar_one_or_none()
    return failures


async def release_unchanged(connection: Connection, lease: Lease, now: datetime) -> None:
    """Releases a claim that could do nothing. Due again at once, not counted as a crash."""
    await connection.execute(
        update(P)
        .where(P.c.id == lease.session_id, P.c.lease_token == lease.token)
        .values(due_at=now, lease_owner=None, lease_until=None)
    )


def _next(due_at: Column[datetime]) -> Select[tuple[datetime | None]]:
    free = (P.c.operator_id == operators.c.id, due_at.is_not(None), P.c.lease_until.is_(None))
    first = select(due_at.label("at")).where(*free).order_by(due_at).limit(1).lateral("first")
    return select(func.min(first.c.at)).select_from(operators.join(first, true()))


_NEXT = {False: _next(P.c.due_at), True: _next(P.c.stop_due_at)}
_NEXT_JOB = select(func.min(operator_jobs.c.due_at)).where(operator_jobs.c.lease_until.is_(None))


async def next_due(connection: Connection, *, stops: bool = False) -> datetime | None:
    """The next due time of an unleased session or job. `stops`: of a stop. None: nothing is planned.

    Ignores expired claims: pollers retry within a second or so anyway.
    """
    found: list[datetime | None] = []
    for query in (_NEXT[True],) if stops else (_NEXT[False], _NEXT_JOB):
        found += (await connection.execute(query)).scalars()
    return min((at for at in found if at is not None), default=None)


def _claimable(due_at: Column[datetime]) -> ColumnElement[bool]:
    now = bindparam("now", type_=P.c.due_at.type)
    free = (due_at <= now, or_(P.c.lease_until.is_(None), P.c.lease_until <= now))
    first = (
        select(P.c.id)
        .where(P.c.operator_id == operators.c.id, *free)
        .order_by(due_at)
        .limit(1)
        .lateral("first")
    )
    return exists().select_from(operators.join(first, true()))


def _work() -> Select[tuple[bool]]:
    now = bindparam("now", type_=P.c.due_at.type)
    jobs = operator_jobs.c
    job = exists().where(jobs.due_at <= now, or_(jobs.lease_until.is_(None), jobs.lease_until <= now))
    return select(or_(_claimable(P.c.stop_due_at), _claimable(P.c.due_at), job))


_WORK = _work()


async def is_anything_due(connection: Connection, now: datetime) -> bool:
    """Whether a session or a job can be claimed now. One statement, where claiming in vain would be a transaction."""
    found: bool = (await connection.execute(_WORK, {"now": now})).scalar_one()
    return found


async def oldest_due(
    connection: Connection, now: datetime, operator_id: OperatorId | None = None
) -> datetime | None:
    """Returns the due time that has been waiting longest. Of one operator or (None) of all."""
    waiting = (P.c.operator_id == operators.c.id, P.c.due_at <= now)
    first = select(P.c.due_at).where(*waiting).order_by(P.c.due_at).limit(1).lateral("first")
    query = select(func.min(first.c.due_at)).select_from(operators.join(first, true()))
    if operator_id is not None:
        query = query.where(operators.c.id == operator_id)
    found: datetime | None = (await connection.execute(query)).scalar()
    return found
