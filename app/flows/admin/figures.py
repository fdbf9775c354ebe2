"""Reads what metrics say about all operators, without counting over ended sessions."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from app.domain.charging.availability import OFFLINE_AFTER
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId
from app.flows.context import Context
from app.store import health, outages
from app.store.events import endpoints
from app.store.operators import monta_access, operator_state, orphans
from app.store.operators.operator_state import OperatorFacts
from app.store.sessions import leases
from app.store.sessions.running import count_running
from app.store.sessions.settlements import OpenSettlements, count_open


@frozen(kw_only=True)
class FiguresRead:
    """Counts for metrics, each by an index of its own. None of them grows with the history."""

    running: dict[str, int]
    """Sessions by status, ended ones left out."""
    needs_attention: int
    settlements: OpenSettlements
    watcher_seen_at: datetime | None
    oldest_due_at: datetime | None
    operators: Sequence[OperatorFacts]
    open_orphans: dict[OperatorId, int]
    budget_left: dict[OperatorId, tuple[int, int]]
    points_out: int
    terminals_out: int
    endpoints: dict[str, int]
    """Endpoints of terminal makers by their state."""
    events_waiting: int
    """Deliveries that endpoints have not taken."""


async def read_figures(context: Context) -> FiguresRead:
    now = context.clock.now()
    async with context.database.read() as connection:
        points_out, terminals_out = await outages.count_out(connection, now - OFFLINE_AFTER)
        return FiguresRead(
            running=await count_running(connection),
            needs_attention=await health.need_attention(connection, None),
            settlements=await count_open(connection, None),
            watcher_seen_at=await health.newest_beat(connection),
            oldest_due_at=await leases.oldest_due(connection, now, None),
            operators=await operator_state.facts(connection),
            open_orphans=await orphans.count_open(connection),
            budget_left=await monta_access.budget_left(connection),
            points_out=points_out,
            terminals_out=terminals_out,
            endpoints=Counter(each.state for each in await endpoints.listed(connection)),
            events_waiting=sum((await endpoints.count_waiting(connection)).values()),
        )
