"""Writes events with the change that they are about, and lists them for their terminal."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Integer, Text, and_, any_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import distinct_on

from app.domain.events.event import EventType
from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargePointId, OperatorId, SessionId, TerminalId
from app.store.db.connection import Connection, Row
from app.store.db.database import EVENTS_CHANNEL
from app.store.db.statements import by_column, given_rows, is_any
from app.store.tables import event_deliveries, event_endpoints, events, terminals

E, D, P, T = events, event_deliveries, event_endpoints, terminals


@frozen(kw_only=True)
class Event:
    """One piece of news for a terminal. `data` is JSON, as the terminal would have seen it then."""

    id: str
    operator_id: OperatorId
    terminal_id: TerminalId
    type: EventType
    session_id: SessionId | None = None
    charge_point_id: ChargePointId | None = None
    version: int = 0
    created_at: datetime
    data: str

    @property
    def subject(self) -> str:
        """What it is about. Events of one subject are delivered in order."""
        return self.session_id or f"{self.charge_point_id}"


_NAMES = (
    *("id", "operator_id", "terminal_id", "type", "session_id", "charge_point_id"),
    *("version", "created_at", "data"),
)


async def has_endpoints(connection: Connection, operator_id: OperatorId) -> bool:
    """Whether any terminal maker wants to be told of this operator's terminals, paused ones included."""
    return bool((await connection.execute(_HAS_ENDPOINTS, {"operator": operator_id})).scalar_one())


async def record(connection: Connection, news: Sequence[Event]) -> None:
    """Writes events of one operator with their deliveries, and wakes the senders. One to each endpoint that wants it.

    An event of a terminal without an endpoint is left out. One charge point's event for several terminals of a maker
    is delivered once.
    """
    rows = [{name: getattr(event, name) for name in _NAMES} | {"subject": event.subject} for event in news]
    given = by_column(rows, (*_NAMES, "subject"))
    if (await connection.execute(_RECORD, given)).scalar():
        connection.notify(EVENTS_CHANNEL)


def _record_statement() -> Any:
    named = {name: E.c[name] for name in _NAMES} | {"subject": D.c.subject}
    given = select(given_rows(named)).cte("given")
    whose = or_(P.c.terminal_id == given.c.terminal_id, P.c.provider == T.c.provider)
    wanted = (
        select(
            *(given.c[name] for name in ("id", "operator_id", "type", "subject", "version", "created_at")),
            P.c.id.label("endpoint_id"),
            or_(P.c.event_types.is_(None), given.c.type == any_(P.c.event_types)).label("is_wanted"),
        )
        .select_from(given)
        .join(T, and_(T.c.id == given.c.terminal_id, T.c.operator_id == given.c.operator_id))
        .join(P, and_(P.c.operator_id == given.c.operator_id, whose))
        # One that is being removed is waited for, and then is none.
        .with_for_update(read=True, key_share=True, of=P)
        .cte("wanted")
    )
    written = (
        insert(E)
        .from_select(
            _NAMES,
            select(*(given.c[name] for name in _NAMES)).where(given.c.id.in_(select(wanted.c.id))),
        )
        .returning(E.c.id)
        .cte("written")
    )
    sent = (
        insert(D)
        .from_select(
            ("endpoint_id", "event_id", "operator_id", "subject", "version", "due_at"), _once(wanted)
        )
        .returning(D.c.event_id)
        .cte("sent")
    )
    return select(func.count()).select_from(sent).add_cte(written)


def _once(wanted: Any) -> Any:
    """What each endpoint wants, once for each change."""
    return (
        select(
            wanted.c.endpoint_id,
            wanted.c.id,
            wanted.c.operator_id,
            wanted.c.subject,
            wanted.c.version,
            wanted.c.created_at.label("due_at"),
        )
        .where(wanted.c.is_wanted)
        .ext(distinct_on(wanted.c.endpoint_id, wanted.c.type, wanted.c.subject, wanted.c.version))
        .order_by(wanted.c.endpoint_id, wanted.c.type, wanted.c.subject, wanted.c.version, wanted.c.id)
    )


@frozen(kw_only=True)
class ListedEvent:
    """An event as its terminal's list has it."""

    id: str
    type: EventType
    created_at: datetime
    data: str


async def number_new(connection: Connection, terminal_id: TerminalId) -> None:
    """Gives a terminal's new events their places in its list, after all that have one.

    Not when they are written: of two transactions at once the second may commit first, and what was listed up to its
    event would hide the other one. The lock is for lists alone: no change of a session waits for it.
    """
    if not (await connection.execute(_HAS_NEW, {"terminal": terminal_id})).scalar_one():
        return
    await connection.execute(_LOCK_LIST, {"terminal": terminal_id})
    await connection.execute(_NUMBER, {"terminal": terminal_id})


async def listed(
    connection: Connection, terminal_id: TerminalId, *, after: str | None, limit: int
) -> list[ListedEvent] | None:
    """A terminal's events in the order of its list, after one of them. None: there is no such event of it."""
    given = {"terminal": terminal_id, "limit": limit, "after": 0}
    if after is not None:
        known = await connection.execute(_NUMBER_OF, {"terminal": terminal_id, "event": after})
        if (row := known.one_or_none()) is None:
            return None
        given["after"] = row.number
    return [_listed(row) for row in await connection.execute(_LISTED, given)]


async def is_known(connection: Connection, event_id: str) -> bool:
    return (await connection.execute(select(E.c.id).where(E.c.id == event_id))).one_or_none() is not None


async def prune(connection: Connection, operator_id: OperatorId, before: datetime, *, limit: int) -> int:
    """Deletes up to `limit` events from before a time, with deliveries of them. Returns how many."""
    given = {"operator": operator_id, "before": before, "most": limit}
    return (await connection.execute(_PRUNE, given)).rowcount


_OLD = (
    select(E.c.id)
    .where(E.c.operator_id == bindparam("operator"), E.c.created_at < bindparam("before"))
    .limit(bindparam("most", type_=Integer()))
)
_PRUNE = delete(E).where(E.c.id.in_(_OLD))


async def forget_sessions(connection: Connection, session_ids: Sequence[SessionId]) -> None:
    """Deletes the events of sessions whose cards are erased."""
    await connection.execute(delete(E).where(is_any(E.c.session_id, session_ids)))


def _listed(row: Row) -> ListedEvent:
    return ListedEvent(
        id=row["id"], type=EventType(row["type"]), created_at=row["created_at"], data=row["data"]
    )


_HAS_ENDPOINTS = select(select(P.c.id).where(P.c.operator_id == bindparam("operator")).exists())
_RECORD = _record_statement()
_HAS_NEW = select(
    select(E.c.id).where(E.c.terminal_id == bindparam("terminal"), E.c.number.is_(None)).exists()
)
_LOCK_LIST = select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("terminal", type_=Text), 0)))
_NEW = (
    select(
        E.c.id,
        (
            func.coalesce(
                select(func.max(E.c.number))
                .where(E.c.terminal_id == bindparam("terminal"))
                .scalar_subquery(),
                0,
            )
            + func.row_number().over(order_by=(E.c.created_at, E.c.version, E.c.id))
        ).label("number"),
    )
    .where(E.c.terminal_id == bindparam("terminal"), E.c.number.is_(None))
    .subquery()
)
_NUMBER = update(E).where(E.c.id == _NEW.c.id).values(number=_NEW.c.number)
_NUMBER_OF = select(E.c.number).where(E.c.id == bindparam("event"), E.c.terminal_id == bindparam("terminal"))
_LISTED = (
    select(E.c.id, E.c.type, E.c.created_at, E.c.data)
    .where(
        E.c.terminal_id == bindparam("terminal"),
        E.c.number > bindparam("after", type_=E.c.number.type),
    )
    .order_by(E.c.number)
    .limit(bindparam("limit"))
)
