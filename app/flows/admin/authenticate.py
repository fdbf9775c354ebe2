"""Finds an API key's owner, and records when keys were used."""

import asyncio
import contextlib

from app.flows.context import Context
from app.store.db.database import DATABASE_ERRORS
from app.store.db.scope import EVERY, limited_to
from app.store.operators import keys
from app.store.operators.keys import OpsKey, PresentedKey, key_hash
from app.store.operators.terminals import Terminal

USES_WRITTEN_S = 10.0
"""Pause between two writes of last uses, of all keys together."""


async def terminal_by_key(
    context: Context, api_key: str, address: str | None, *, urgent: bool = False
) -> Terminal | None:
    """Returns the terminal that this key was issued to, or None. `address`: where the call comes from."""
    found = await _presented(context, api_key, urgent=urgent)
    if found is None or not isinstance(found.principal, Terminal):
        return None
    context.key_uses.note(found.id, context.clock.now(), address)
    return found.principal


async def ops_key_by_key(
    context: Context, api_key: str, address: str | None, *, urgent: bool = False
) -> OpsKey | None:
    """Returns the operations key that this key stands for, or None. `address`: where the call comes from."""
    found = await _presented(context, api_key, urgent=urgent)
    if found is None or not isinstance(found.principal, OpsKey):
        return None
    context.key_uses.note(found.id, context.clock.now(), address)
    return found.principal


async def _presented(context: Context, api_key: str, *, urgent: bool) -> PresentedKey | None:
    """The valid key with this secret; None: unknown, revoked or expired."""
    hashed = key_hash(api_key)

    async def look_up() -> PresentedKey | None:
        with limited_to(EVERY):
            async with context.database.read(urgent=urgent) as connection:
                return await keys.presented(connection, hashed)

    found = await context.known_keys.find(hashed, context.clock.monotonic(), look_up, urgent=urgent)
    return found if found is not None and found.is_valid(context.clock.now()) else None


async def record_key_uses(context: Context) -> None:
    """Writes the last uses that were noted since the last call. They are lost when the database fails: the next use
    is noted a minute later."""
    noted = context.key_uses.take()
    if noted:
        async with context.database.transaction() as connection:
            await keys.record_uses(connection, noted)


async def keep_recording_key_uses(context: Context) -> None:
    """Writes last uses until it is cancelled, and once more then."""
    try:
        while True:
            await asyncio.sleep(USES_WRITTEN_S)
            with contextlib.suppress(*DATABASE_ERRORS):
                await record_key_uses(context)
    finally:
        with contextlib.suppress(*DATABASE_ERRORS):
            await record_key_uses(context)
