"""Finds payment sessions with their terminals' and charge points' names."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime

from app.domain.session.payment_session import PaymentSession
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId, SessionId
from app.flows.context import Context
from app.store.operators import orphans
from app.store.operators.names import Names, names_of
from app.store.operators.orphans import Orphan
from app.store.sessions import payment_sessions
from app.store.sessions.session_filter import SessionFilter
from app.store.sessions.settlements import Capture, captures_of_sessions

MOST_ORPHANS = 20
PAGE = 50
CSV_PAGE = 200
MOST_CSV = 10_000
"""Sessions of one CSV file; a longer list is narrowed by its dates."""


@frozen
class Found:
    """One page of sessions, newest first, as of `now`. `next`: the (created_at, id) to go on after; None: there are no
    more."""

    sessions: Sequence[PaymentSession]
    names: Names
    captures: Mapping[SessionId, Sequence[Capture]]
    """What the PSP did, by session, as terminals reported it."""
    now: datetime
    next: tuple[datetime, str] | None


async def search(
    context: Context, wanted: SessionFilter, *, after: tuple[datetime, str] | None = None, limit: int = PAGE
) -> Found:
    """One page of the sessions that match."""
    async with context.database.read() as connection:
        found = await payment_sessions.find(connection, wanted, limit=limit + 1, before=after)
        shown = found[:limit]
        names = await names_of(
            connection,
            {s.terminal_id for s in shown},
            {(s.operator_id, s.charge_point_id) for s in shown},
        )
        captures = await captures_of_sessions(connection, [s.id for s in shown])
    last = shown[-1] if len(found) > limit else None
    following = (last.created_at, last.id) if last else None
    return Found(shown, names, captures, context.clock.now(), following)


async def orphans_named(context: Context, operator_id: OperatorId | None, name: str) -> list[Orphan]:
    """Finds charges without a session by any id or reference, open and closed; MOST_ORPHANS at most."""
    async with context.database.read() as connection:
        return await orphans.named(connection, operator_id, name, limit=MOST_ORPHANS)


async def search_all(context: Context, wanted: SessionFilter) -> AsyncIterator[Found]:
    """All pages, each read in a transaction of its own; MOST_CSV sessions at most."""
    after: tuple[datetime, str] | None = None
    for _ in range(MOST_CSV // CSV_PAGE):
        page = await search(context, wanted, after=after, limit=CSV_PAGE)
        yield page
        if page.next is None:
            return
        after = page.next
