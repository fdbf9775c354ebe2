"""Stores webhook entries that wait for a watcher; each is applied once."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    any_,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
    text,
    update,
)

from app.domain.session.payment_session import PaymentSession
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId
from app.store.db.connection import Connection
from app.store.db.statements import by_column, insert_rows
from app.store.sessions import leases
from app.store.sessions.payment_sessions import LOCK_NAMED
from app.store.tables import inbox, payment_sessions
from app.store.tables.monta import CHARGE_POINT_NEWS_PENDING

PENDING_LIMIT = 5000
"""Entries of one session applied in one transaction. The rest follow in the next."""
READ_OF_EACH = 50
"""Entries of one charge that are read of a backlog, the newest."""

P = payment_sessions


@frozen(kw_only=True)
class InboxEntry:
    """One webhook entry to be kept. `raw` is what Monta sent, safe for jsonb."""

    dedupe_key: str
    raw: Mapping[str, Any]
    entity_type: str | None = None
    entity_id: str | None = None
    event_type: str | None = None
    event_time: datetime | None = None
    charge_id: str | None = None
    session_reference: str | None = None
    problem: str | None = None


@frozen
class PendingEntry:
    """An entry not applied yet. `raw` is None where newer entries of the same charge supersede it."""

    id: int
    received_at: datetime
    raw: Mapping[str, Any] | None


@frozen
class Kept:
    """The number of new entries, and unknown sessions that they name."""

    new: int
    unknown: tuple[str, ...]


async def keep(
    connection: Connection, operator_id: OperatorId, entries: Sequence[InboxEntry], now: datetime
) -> Kept:
    """Saves new entries, and makes the sessions due that they name.

    Writes entries in the order of their keys, then locks sessions in the order of their ids: overlapping deliveries
    never deadlock.
    """
    rows = [_row(entry, operator_id, now) for entry in sorted(entries, key=lambda e: e.dedupe_key)]
    if not rows:
        return Kept(new=0, unknown=())
    new = (await connection.execute(_KEEP, by_column(rows, _COLUMNS))).all()
    charge_ids = sorted({r.charge_id for r in new if r.charge_id})
    references = sorted({r.session_reference for r in new if r.session_reference})
    known = (
        await _wake(connection, operator_id, charge_ids, references, now) if charge_ids or references else []
    )
    return Kept(new=len(new), unknown=tuple(sorted(set(references).difference(known))))


_COLUMNS = (
    "operator_id",
    "received_at",
    "dedupe_key",
    "raw",
    "entity_type",
    "entity_id",
    "event_type",
    "event_time",
    "charge_id",
    "session_reference",
    "problem",
)
_KEEP = (
    insert_rows(inbox, *_COLUMNS)
    .on_conflict_do_nothing()
    .returning(inbox.c.charge_id, inbox.c.session_reference)
)


def _row(entry: InboxEntry, operator_id: OperatorId, now: datetime) -> dict[str, Any]:
    return {
        "operator_id": operator_id,
        "received_at": now,
        "dedupe_key": entry.dedupe_key,
        "raw": dict(entry.raw),
        "entity_type": entry.entity_type,
        "entity_id": entry.entity_id,
        "event_type": entry.event_type,
        "event_time": entry.event_time,
        "charge_id": entry.charge_id,
        "session_reference": entry.session_reference,
        "problem": entry.problem,
    }


_APPLY = (
    update(inbox)
    .where(
        inbox.c.operator_id == bindparam("operator"),
        inbox.c.id == any_(bindparam("entries", type_=ARRAY(BigInteger))),
    )
    .values(applied_at=bindparam("now"))
)
"""Built once: every delivery and every turn executes them."""


async def _wake(
    connection: Connection,
    operator_id: OperatorId,
    charge_ids: Sequence[str],
    references: Sequence[str],
    now: datetime,
) -> Sequence[str]:
    """Wakes the sessions that entries name. Uses arrays, since a delivery may name more charges than a statement may
    have parameters."""
    given = {"operator": operator_id, "charge_ids": list(charge_ids), "references": list(references)}
    known = (await connection.execute(LOCK_NAMED, given)).scalars()
    await leases.wake(connection, known, now)
    return known


def _news(*ours: ColumnElement[bool]) -> Select[tuple[int, datetime, Any]]:
    # An event dated after its arrival must not hide the others.
    happened_at = func.least(inbox.c.event_time, inbox.c.received_at)
    age = func.row_number().over(
        partition_by=inbox.c.charge_id, order_by=(happened_at.desc(), inbox.c.id.desc())
    )
    operator = inbox.c.operator_id == bindparam("operator")
    pending = (
        select(inbox.c.id, inbox.c.received_at, inbox.c.raw, age.label("age"))
        .where(operator, inbox.c.applied_at.is_(None), or_(*ours))
        .subquery()
    )
    raw = case((pending.c.age <= READ_OF_EACH, pending.c.raw), else_=None)
    return (
        select(pending.c.id, pending.c.received_at, raw.label("raw"))
        .order_by(pending.c.id)
        .limit(PENDING_LIMIT)
    )


# Built once: every claim of every session executes one of them.
_PENDING = _news(inbox.c.session_reference == bindparam("session"))
_PENDING_OF_CHARGE = _news(
    inbox.c.session_reference == bindparam("session"), inbox.c.charge_id == bindparam("charge")
)


async def pending_of(connection: Connection, session: PaymentSession) -> list[PendingEntry]:
    """Pending entries about the session's charge or with its reference, oldest first.

    Of a backlog only the newest of each charge are read: an entry says all that the ones before it said.
    """
    given = {"operator": session.operator_id, "session": session.id}
    query = _PENDING
    if session.charge is not None:
        query, given["charge"] = _PENDING_OF_CHARGE, session.charge.id
    return [PendingEntry(row.id, row.received_at, row.raw) for row in await connection.execute(query, given)]


async def mark_applied(
    connection: Connection, operator_id: OperatorId, news: Sequence[PendingEntry], now: datetime
) -> None:
    if news:
        given = {"operator": operator_id, "entries": [n.id for n in news], "now": now}
        await connection.execute(_APPLY, given)


async def prune(connection: Connection, before: datetime, *, limit: int) -> int:
    """Deletes entries older than `before` among the `limit` oldest; returns how many. The record has been read since,
    so they hold no news."""
    return (await connection.execute(_PRUNE, {"before": before, "most": limit})).rowcount


_OLDEST = (
    select(inbox.c.id, inbox.c.received_at)
    .order_by(inbox.c.id)
    .limit(bindparam("most", type_=Integer()))
    .cte("oldest")
)
_PRUNE = delete(inbox).where(
    inbox.c.id.in_(select(_OLDEST.c.id).where(_OLDEST.c.received_at < bindparam("before")))
)


_CHARGE_POINT_NEWS = (
    select(inbox.c.id, inbox.c.received_at, inbox.c.raw)
    .where(inbox.c.operator_id == bindparam("operator"), text(CHARGE_POINT_NEWS_PENDING))
    .order_by(inbox.c.id)
    .limit(bindparam("most", type_=Integer()))
)


async def news_of_charge_points(
    connection: Connection, operator_id: OperatorId, limit: int
) -> list[PendingEntry]:
    """Returns pending entries about charge points and price groups. In the order of arrival."""
    rows = await connection.execute(_CHARGE_POINT_NEWS, {"operator": operator_id, "most": limit})
    return [PendingEntry(row.id, row.received_at, row.raw) for row in rows]
