"""Sessions that a restored database does not have, and the orphan charges that are found for them."""

from app.store.operators import orphans
from app.store.operators.orphans import Orphan
from tests.journeys.rig import Rig
from tests.postgres import unguarded

FORGET = (
    "DELETE FROM journal WHERE session_id = '{id}'",
    "DELETE FROM polled_reports WHERE session_id = '{id}'",
    "DELETE FROM holds WHERE session_id = '{id}'",
    "DELETE FROM payment_sessions WHERE id = '{id}'",
)


async def forget(rig: Rig, session_id: str) -> None:
    """The database as it was before the session was recorded."""
    await unguarded(rig.database_url, *(statement.format(id=session_id) for statement in FORGET))


async def orphans_of(rig: Rig, *, closed: bool = False) -> list[Orphan]:
    async with rig.context.database.transaction() as connection:
        return await orphans.listed(connection, None, closed=closed, limit=100)
