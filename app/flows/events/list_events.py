"""Lists a terminal's events, so that it finds what its endpoint missed."""

from collections.abc import Sequence

from app.domain.units.frozen import frozen
from app.flows.context import Context
from app.store.db.database import retry_on_serialization_failure
from app.store.db.scope import EVERY, limited_to
from app.store.events import outbox
from app.store.events.outbox import ListedEvent
from app.store.operators.terminals import Terminal

MOST_LISTED = 200


@frozen
class EventPage:
    """Events in the order of the terminal's list. `has_more`: others follow the last one."""

    events: Sequence[ListedEvent]
    has_more: bool


@retry_on_serialization_failure
async def list_events(
    context: Context, terminal: Terminal, *, after: str | None, limit: int
) -> EventPage | None:
    """A terminal's events after one of them, or (None) all that are kept. None: it has no such event."""
    async with context.database.transaction() as connection:
        await outbox.number_new(connection, terminal.id)
        found = await outbox.listed(connection, terminal.id, after=after, limit=limit + 1)
    return None if found is None else EventPage(found[:limit], has_more=len(found) > limit)


async def event_exists(context: Context, event_id: str) -> bool:
    """Whether any terminal has an event with this id, whoever asks."""
    with limited_to(EVERY):
        async with context.database.read() as connection:
            return await outbox.is_known(connection, event_id)
