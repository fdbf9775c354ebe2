"""Reads what is stored of accounts, watchers and keys, for `tapwatt doctor`."""

from collections.abc import Sequence
from datetime import timedelta

from app.domain.alerts.causes import OperatorHealth
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId
from app.flows.context import Context
from app.store import alerts
from app.store.db import suitability
from app.store.operators import keys, monta_access, operators
from app.store.operators.keys import ApiKey, KeyKind

SEEN_WATCHERS = timedelta(minutes=1)


@frozen(kw_only=True)
class StoredState:
    """`clocks_ahead`: of each watcher that was seen lately, by its id. `keys`: those that are not revoked."""

    is_bound: bool
    accounts: Sequence[OperatorHealth]
    clocks_ahead: dict[str, timedelta]
    connections: tuple[int, int]
    monta_urls: Sequence[str]
    quota_left: dict[OperatorId, tuple[int, int]]
    keys: Sequence[ApiKey]


async def stored_state(context: Context) -> StoredState:
    """Changes nothing, and asks nobody but the database."""
    async with context.database.read() as connection:
        every = [await keys.listed(connection, kind, operator_id=None) for kind in KeyKind]
        return StoredState(
            is_bound=await suitability.is_bound(connection),
            accounts=await alerts.health_of_operators(connection),
            clocks_ahead={}
            if context.clock_is_virtual
            else await alerts.clocks_ahead(connection, context.clock.now() - SEEN_WATCHERS),
            connections=await suitability.connections_in_use(connection),
            monta_urls=await operators.monta_urls(connection),
            quota_left=await monta_access.budget_left(connection),
            keys=[key for kind in every for key in kind if key.revoked_at is None],
        )
