"""What the PSP did with a settled hold, as the terminal reported it."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.ids import SessionId
from app.store.tables import captures


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """`outcome` is captured, released or failed; `reference` is the PSP's."""

    outcome: str
    amount_minor: int
    reference: str
    authorization_reference: str | None = None
    reported_at: datetime


async def add(connection: AsyncConnection, session_id: SessionId, capture: Capture) -> Capture | None:
    """Keep a report once; returns the one that was already there under the same outcome, reference and hold."""
    made = await connection.execute(
        insert(captures)
        .values(
            session_id=session_id,
            outcome=capture.outcome,
            amount_minor=capture.amount_minor,
            reference=capture.reference,
            authorization_reference=capture.authorization_reference,
            reported_at=capture.reported_at,
        )
        .on_conflict_do_nothing()
        .returning(captures.c.id)
    )
    if made.one_or_none() is not None:
        return None
    earlier = await of_session(connection, session_id)
    return next(c for c in earlier if _key(c) == _key(capture))


def _key(capture: Capture) -> tuple[str, str, str | None]:
    return capture.outcome, capture.reference, capture.authorization_reference


async def of_session(connection: AsyncConnection, session_id: SessionId) -> list[Capture]:
    c = captures.c
    query = (
        select(c.outcome, c.amount_minor, c.reference, c.authorization_reference, c.reported_at)
        .where(c.session_id == session_id)
        .order_by(c.id)
    )
    return [
        Capture(
            outcome=r.outcome,
            amount_minor=r.amount_minor,
            reference=r.reference,
            authorization_reference=r.authorization_reference,
            reported_at=r.reported_at,
        )
        for r in await connection.execute(query)
    ]
