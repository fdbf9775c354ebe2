"""Signs people in to the console, by operations key, and out."""

from collections.abc import Sequence
from dataclasses import field
from datetime import datetime

from app.domain.units.frozen import frozen
from app.flows.context import Context
from app.store.db.scope import EVERY, limited_to
from app.store.operators import console_sessions, keys
from app.store.operators.console_sessions import SEEN_AGAIN, OpenSession
from app.store.operators.keys import OpsKey


@frozen(kw_only=True)
class SignedIn:
    """A console session: its token, and the key behind it. The key decides what it sees."""

    token: str = field(repr=False)
    key: OpsKey


async def sign_in(context: Context, api_key: str, address: str | None = None) -> SignedIn | None:
    """Opens a session for an operations key, used from this address. None: the key is not valid."""
    with limited_to(EVERY):
        return await _opened(context, api_key, address)


async def _opened(context: Context, api_key: str, address: str | None) -> SignedIn | None:
    now = context.clock.now()
    async with context.database.transaction() as connection:
        found = await keys.presented(connection, keys.key_hash(api_key))
        if found is None or not found.is_valid(now) or not isinstance(found.principal, OpsKey):
            return None
        key = found.principal
        token = context.ids.secret("tw_console")
        await console_sessions.add(connection, token, key, now)
    context.key_uses.note(key.id, now, address)
    return SignedIn(token=token, key=key)


async def signed_in(context: Context, token: str) -> SignedIn | None:
    """The session of a token, noted as in use. None: it is over, signed out, or its key is revoked or expired."""
    now = context.clock.now()
    with limited_to(EVERY):
        async with context.database.read() as connection:
            found = await console_sessions.key_of(connection, token, now)
    if found is None:
        return None
    key, seen_at = found
    if seen_at <= now - SEEN_AGAIN:
        async with context.database.transaction() as connection:
            await console_sessions.note_seen(connection, [token], now)
    return SignedIn(token=token, key=key)


async def still_signed_in(context: Context, tokens: Sequence[str]) -> frozenset[str]:
    """Returns which of these tokens are still valid. Each is noted as in use."""
    now = context.clock.now()
    async with context.database.transaction() as connection:
        await console_sessions.note_seen(connection, tokens, now)
        return await console_sessions.valid(connection, tokens, now)


async def sign_out(context: Context, token: str) -> None:
    """Ends a session at once, in every process."""
    async with context.database.transaction() as connection:
        await console_sessions.remove(connection, token)


ID_CHARS = 12
"""Of a session's id: the beginning of its token's hash, which no one can sign in with."""


@frozen(kw_only=True)
class SignIn:
    """One session of the console, as its key's holder sees it."""

    id: str
    since: datetime
    seen_at: datetime
    is_this: bool


async def sign_ins_of(context: Context, viewer: SignedIn) -> list[SignIn]:
    """The sessions of the viewer's key, the newest first."""
    async with context.database.read() as connection:
        found = await console_sessions.of_key(connection, viewer.key.id, context.clock.now())
    mine = console_sessions.token_hash(viewer.token)
    return [
        SignIn(id=_id_of(each), since=each.created_at, seen_at=each.seen_at, is_this=each.token_hash == mine)
        for each in found
    ]


async def is_key_of(context: Context, viewer: SignedIn, api_key: str) -> bool:
    """Whether this is the key that the viewer's session was opened with."""
    with limited_to(EVERY):
        async with context.database.transaction() as connection:
            found = await keys.presented(connection, keys.key_hash(api_key))
    return found is not None and found.principal == viewer.key and found.is_valid(context.clock.now())


async def end_sign_ins(context: Context, viewer: SignedIn, which: str | None) -> int:
    """Ends one session of the viewer's key, or (None) all but the viewer's, in every process. Returns how many."""
    mine = console_sessions.token_hash(viewer.token)
    async with context.database.transaction() as connection:
        found = await console_sessions.of_key(connection, viewer.key.id, context.clock.now())
        ended = [s.token_hash for s in found if s.token_hash != mine and which in (None, _id_of(s))]
        await console_sessions.end(connection, viewer.key.id, ended)
    return len(ended)


def _id_of(found: OpenSession) -> str:
    return found.token_hash.hex()[:ID_CHARS]
