"""Finds the terminal or the operations key that belongs to an API key."""

from app.flows.context import Context
from app.store.operators import terminals
from app.store.operators.terminals import OpsKey, Terminal, key_hash


async def terminal_by_key(context: Context, api_key: str, *, urgent: bool = False) -> Terminal | None:
    """Returns the terminal that this key was issued to, or None."""

    async def look_up() -> Terminal | None:
        async with context.database.read(urgent=urgent) as connection:
            return await terminals.terminal_by_key(connection, api_key)

    found = await context.known_keys.find(key_hash(api_key), context.clock.monotonic(), look_up)
    return found if isinstance(found, Terminal) else None


async def ops_key_by_key(context: Context, api_key: str, *, urgent: bool = False) -> OpsKey | None:
    """Returns the operations key that this key stands for, or None."""

    async def look_up() -> OpsKey | None:
        async with context.database.read(urgent=urgent) as connection:
            return await terminals.ops_key_by_key(connection, api_key)

    found = await context.known_keys.find(key_hash(api_key), context.clock.monotonic(), look_up)
    return found if isinstance(found, OpsKey) else None
