"""Keeps a terminal's heartbeat. When it was online, and when it was out of order."""

from app.domain.charging.availability import OFFLINE_AFTER
from app.flows.context import Context
from app.store import outages
from app.store.db.database import retry_on_serialization_failure
from app.store.operators.terminals import Terminal
from app.store.outages import Heartbeat

__all__ = [
    "OFFLINE_AFTER",
    "report_status",
]


@retry_on_serialization_failure
async def report_status(
    context: Context, terminal: Terminal, *, state: str, message: str | None
) -> Heartbeat:
    """Records what the terminal reports of itself now. A silence of more than OFFLINE_AFTER before it is an outage."""
    said = Heartbeat(
        terminal_id=terminal.id,
        operator_id=terminal.operator_id,
        state=state,
        message=message,
        at=context.clock.now(),
    )
    async with context.database.transaction() as connection:
        await outages.heard(connection, said)
    return said
