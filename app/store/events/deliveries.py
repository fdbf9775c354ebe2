"""Claims endpoints that have deliveries due, and keeps what came of them."""

from collections.abc import Sequence
from dataclasses import field
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, case, delete, func, or_, select, tuple_, update

from app.domain.events.event import EventType
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId
from app.store.db.connection import Connection
from app.store.db.statements import are_any, given_rows
from app.store.tables import event_deliveries, event_endpoints, events
from app.store.tables.base import Moment

P, D, E = event_endpoints, event_deliveries, events


@frozen(kw_only=True)
class EndpointLease:
    """A claim on one endpoint: only its holder sends there. The token fences later writes."""

    endpoint_id: str
    operator_id: OperatorId
    url: str = field(repr=False)
    failing_since: datetime | None
    token: int


@frozen(kw_only=True)
class Delivery:
    """One event that an endpoint has not taken."""

    event_id: str
    subject: str
    type: EventType
    created_at: datetime
    data: str
    attempts: int


async def claim(
    connection: Connection, *, now: datetime, until: datetime, limit: int, failing: bool
) -> list[EndpointLease]:
    """Claims endpoints with deliveries due, those that fail or the others. The longest unclaimed first."""
    statement = _CLAIM_FAILING if failing else _CLAIM
    rows = await connection.execute(statement, {"now": now, "until": until, "limit": limit})
    return [
        EndpointLease(
            endpoint_id=row.id,
            operator_id=OperatorId(row.operator_id),
            url=row.url,
            failing_since=row.failing_since,
            token=row.lease_token,
        )
        for row in rows
    ]


async def renew(connection: Connection, lease: EndpointLease, until: datetime) -> bool:
    """Renews a claim. False: it is lost, or the endpoint was paused or removed."""
    given = {"endpoint": lease.endpoint_id, "token": lease.token, "until": until}
    return (await connection.execute(_RENEW, given)).one_or_none() is not None


async def due(connection: Connection, endpoint_id: str, now: datetime, *, limit: int) -> list[Delivery]:
    """Deliveries that are due, the longest due first; of each subject only the first that was not taken."""
    rows = await connection.execute(_DUE, {"endpoint": endpoint_id, "now": now, "limit": limit})
    return [
        Delivery(
            event_id=row.event_id,
            subject=row.subject,
            type=EventType(row.type),
            created_at=row.created_at,
            data=row.data,
            attempts=row.attempts,
        )
        for row in rows
    ]


async def finish(connection: Connection, lease: EndpointLease, event_ids: Sequence[str]) -> None:
    """Forgets deliveries that were taken or given up."""
    rows = [(lease.endpoint_id, event_id) for event_id in sorted(event_ids)]
    if rows:
        await connection.execute(delete(D).where(are_any((D.c.endpoint_id, D.c.event_id), rows)))


async def put_off(
    connection: Connection, lease: EndpointLease, failed: Sequence[tuple[Delivery, datetime]]
) -> None:
    """Keeps failed attempts, and when the next one is due. What follows about the same subject waits for it."""
    if failed:
        given = {
            "endpoint": lease.endpoint_id,
            "put_off": [delivery.event_id for delivery, _ in failed],
            "whose": [delivery.subject for delivery, _ in failed],
            "until": [due_at for _, due_at in failed],
        }
        await connection.execute(_PUT_OFF, given)


async def note_taken(connection: Connection, lease: EndpointLease, now: datetime) -> None:
    """Notes that an endpoint took a delivery: it fails no more."""
    nothing = dict.fromkeys(("failing_since", "problem", "quiet_until"))
    mine = (P.c.id == lease.endpoint_id, P.c.lease_token == lease.token)
    await connection.execute(update(P).where(*mine).values(delivered_at=now, **nothing))


async def note_failed(
    connection: Connection,
    lease: EndpointLease,
    *,
    problem: str,
    since: datetime | None,
    quiet_until: datetime | None,
    given_up: int,
) -> None:
    """Notes why a delivery was not taken. `since`: none was taken since then; None: others were."""
    mine = (P.c.id == lease.endpoint_id, P.c.lease_token == lease.token)
    values: dict[str, Any] = {"problem": problem, "given_up": P.c.given_up + given_up}
    if since is not None:
        values |= {"failing_since": func.coalesce(P.c.failing_since, since), "quiet_until": quiet_until}
    await connection.execute(update(P).where(*mine).values(**values))


async def release(connection: Connection, lease: EndpointLease) -> None:
    mine = (P.c.id == lease.endpoint_id, P.c.lease_token == lease.token)
    await connection.execute(update(P).where(*mine).values(lease_until=None))


_NOW, _UNTIL = bindparam("now", type_=Moment), bindparam("until", type_=Moment)


_BEFORE = D.alias("before")
_IS_FIRST = (
    ~select(_BEFORE.c.event_id)
    .where(
        _BEFORE.c.endpoint_id == D.c.endpoint_id,
        _BEFORE.c.subject == D.c.subject,
        tuple_(_BEFORE.c.version, _BEFORE.c.event_id) < tuple_(D.c.version, D.c.event_id),
    )
    .correlate(D)
    .exists()
)
"""Of its subject, the first that the endpoint has not taken."""


def _claim_statement(*, failing: bool) -> Any:
    due = select(D.c.event_id).where(D.c.endpoint_id == P.c.id, D.c.due_at <= _NOW, _IS_FIRST)
    is_due = due.correlate(P).exists()
    free = (
        select(P.c.id)
        .where(
            P.c.paused_at.is_(None),
            P.c.failing_since.is_not(None) if failing else P.c.failing_since.is_(None),
            or_(P.c.lease_until.is_(None), P.c.lease_until <= _NOW),
            or_(P.c.quiet_until.is_(None), P.c.quiet_until <= _NOW),
            is_due,
        )
        .order_by(P.c.lease_until.nulls_first(), P.c.id)
        .limit(bindparam("limit"))
        .with_for_update(skip_locked=True, key_share=True)
        .cte("free")
    )
    return (
        update(P)
        .where(P.c.id == free.c.id)
        .values(lease_token=P.c.lease_token + 1, lease_until=_UNTIL)
        .returning(P.c.id, P.c.operator_id, P.c.url, P.c.failing_since, P.c.lease_token)
    )


_CLAIM, _CLAIM_FAILING = _claim_statement(failing=False), _claim_statement(failing=True)
_RENEW = (
    update(P)
    .where(
        P.c.id == bindparam("endpoint"),
        P.c.lease_token == bindparam("token"),
        P.c.lease_until.is_not(None),
        P.c.paused_at.is_(None),
    )
    .values(lease_until=_UNTIL)
    .returning(P.c.id)
)
_DUE = (
    select(D.c.event_id, D.c.subject, D.c.attempts, E.c.type, E.c.created_at, E.c.data)
    .join(E, and_(E.c.id == D.c.event_id, E.c.operator_id == D.c.operator_id))
    .where(
        D.c.endpoint_id == bindparam("endpoint"),
        D.c.due_at <= _NOW,
        _IS_FIRST,
    )
    .order_by(D.c.due_at, D.c.event_id)
    .limit(bindparam("limit"))
)
_FAILED = given_rows({"put_off": D.c.event_id, "whose": D.c.subject, "until": D.c.due_at})
_PUT_OFF = (
    update(D)
    .where(D.c.endpoint_id == bindparam("endpoint"), D.c.subject == _FAILED.c.whose)
    .values(
        due_at=_FAILED.c.until,
        attempts=D.c.attempts + case((D.c.event_id == _FAILED.c.put_off, 1), else_=0),
    )
)
