"""Stores the journal: a session's facts, decisions and calls, never changed. Oldest first."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Integer, bindparam, select

from app.domain.evidence.chain import Line, link
from app.domain.session.machine import JournalLine
from app.domain.session.payment_session import PaymentSession
from app.domain.session.states.journal import JournalHead
from app.domain.units.frozen import frozen, replace
from app.domain.units.ids import SessionId
from app.store.db.connection import Connection
from app.store.db.statements import by_column, insert_rows
from app.store.tables import journal

JOURNAL_COLUMNS = ("session_id", "operator_id", "at", "kind", "source", "detail", "hash")
_APPEND = insert_rows(journal, *JOURNAL_COLUMNS)
_LINES = select(*(journal.c[name] for name in ("id", "at", "kind", "source", "detail", "hash")))


@frozen
class JournalEntry:
    """A stored line. `hash` covers it and the line before it (`app/domain/evidence/chain.py`)."""

    id: int
    at: datetime
    kind: str
    source: str
    detail: dict[str, Any]
    hash: bytes


JournalRow = dict[str, Any]


def linked(
    session: PaymentSession, head: JournalHead, lines: Sequence[JournalLine], now: datetime
) -> tuple[PaymentSession, list[JournalRow]]:
    """Links lines to the end of a locked session's chain. Its end is `head`; returns the session with the new end,
    too."""
    head, rows = chained(session, head, lines, now)
    return (session if session.journal == head else replace(session, journal=head)), rows


def chained(
    session: PaymentSession, head: JournalHead, lines: Sequence[JournalLine], now: datetime
) -> tuple[JournalHead, list[JournalRow]]:
    """Returns the new end of a session's chain, and the rows of its new lines."""
    rows = []
    for number, line in enumerate(lines, start=head.lines + 1):
        entry = Line(
            session_id=session.id,
            number=number,
            at=now,
            kind=line.kind,
            source=line.source,
            detail=line.detail,
        )
        head = JournalHead(lines=number, hash=link(head.hash, entry))
        rows.append(_row(session, entry, head.hash))
    return head, rows


def _row(session: PaymentSession, line: Line, its_hash: str) -> JournalRow:
    return {
        "session_id": session.id,
        "operator_id": session.operator_id,
        "at": line.at,
        "kind": line.kind,
        "source": line.source,
        "detail": dict(line.detail),
        "hash": bytes.fromhex(its_hash),
    }


async def append(connection: Connection, rows: Sequence[JournalRow]) -> None:
    """Writes linked lines in this order. Their session's end of the chain is saved in the same transaction."""
    if rows:
        await connection.execute(_APPEND, by_column(rows, JOURNAL_COLUMNS))


async def of_session(
    connection: Connection, session_id: SessionId, *, after: int = 0, limit: int = 1000
) -> list[JournalEntry]:
    """Up to `limit` lines with ids above `after`."""
    given = {"session": session_id, "after": after, "most": limit}
    return [JournalEntry(*row) for row in await connection.execute(_OF_SESSION, given)]


_OF_SESSION = (
    _LINES.where(journal.c.session_id == bindparam("session"), journal.c.id > bindparam("after"))
    .order_by(journal.c.id)
    .limit(bindparam("most", type_=Integer()))
)


async def newest(
    connection: Connection, session_id: SessionId, *, before: int | None = None, limit: int
) -> list[JournalEntry]:
    """The newest `limit` lines; `before`: of those with lower ids."""
    of_it = _LINES.where(journal.c.session_id == session_id)
    if before is not None:
        of_it = of_it.where(journal.c.id < before)
    rows = await connection.execute(of_it.order_by(journal.c.id.desc()).limit(limit))
    return [JournalEntry(*row) for row in rows][::-1]
