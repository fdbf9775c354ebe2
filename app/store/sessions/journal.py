"""Stores the journal: every fact, decision and call of a session, oldest first, never changed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from app.domain.units.ids import SessionId
from app.store.db.connection import Connection
from app.store.tables import journal


@dataclass(frozen=True, slots=True)
class JournalEntry:
    id: int
    at: datetime
    kind: str
    source: str
    detail: dict[str, Any]


async def of_session(
    connection: Connection, session_id: SessionId, *, after: int = 0, limit: int = 1000
) -> list[JournalEntry]:
    """Up to `limit` lines with ids above `after`."""
    query = (
        select(journal.c.id, journal.c.at, journal.c.kind, journal.c.source, journal.c.detail)
        .where(journal.c.session_id == session_id, journal.c.id > after)
        .order_by(journal.c.id)
        .limit(limit)
    )
    return [JournalEntry(r.id, r.at, r.kind, r.source, r.detail) for r in await connection.execute(query)]
