"""Stores who is signed in to the console. A token's hash, its operations key, and when it was used last."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, func, insert, or_, select, update

from app.domain.units.frozen import frozen
from app.domain.units.ids import KeyId, OperatorId
from app.store.db.connection import Connection
from app.store.db.statements import is_any
from app.store.operators.keys import OpsKey, Role
from app.store.tables import api_keys, console_sessions

IDLE = timedelta(minutes=30)
"""Without a request for this long a session ends."""
LONGEST = timedelta(hours=12)
"""A session ends then, however busy it is."""
MOST_OF_A_KEY = 100
"""Sessions of one key at a time; the oldest end first."""
SEEN_AGAIN = timedelta(minutes=1)
"""How exactly the last use is kept: a write for each request would be one too many."""

S, K = console_sessions.c, api_keys.c


def token_hash(token: str) -> bytes:
    """Hashes a session's token. Tokens are long and random, so a plain hash is enough."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


async def add(connection: Connection, token: str, key: OpsKey, now: datetime) -> None:
    """Adds a session of a key, and deletes those that are over."""
    over = (S.created_at <= now - LONGEST) | (S.seen_at <= now - IDLE)
    await connection.execute(delete(console_sessions).where(over))
    row = {"token_hash": token_hash(token), "ops_key_id": key.id, "created_at": now, "seen_at": now}
    await connection.execute(insert(console_sessions).values(row))
    newest = (
        select(S.token_hash)
        .where(S.ops_key_id == key.id)
        .order_by(S.created_at.desc(), S.token_hash)
        .limit(MOST_OF_A_KEY)
    )
    surplus = (S.ops_key_id == key.id) & S.token_hash.not_in(newest)
    await connection.execute(delete(console_sessions).where(surplus))


_VALID = (
    K.revoked_at.is_(None),
    or_(K.expires_at.is_(None), K.expires_at > bindparam("now")),
    S.created_at > bindparam("began_after"),
    S.seen_at > bindparam("seen_after"),
)
_FROM = console_sessions.join(api_keys, S.ops_key_id == K.id)
_KEY = (
    select(K.id, K.operator_id, K.role, K.name, S.seen_at)
    .select_from(_FROM)
    .where(S.token_hash == bindparam("hash"), *_VALID)
)


def _bounds(now: datetime) -> dict[str, datetime]:
    return {"now": now, "began_after": now - LONGEST, "seen_after": now - IDLE}


async def key_of(connection: Connection, token: str, now: datetime) -> tuple[OpsKey, datetime] | None:
    """Returns a console session's key and last use; None: one of both is over."""
    row = (await connection.execute(_KEY, {"hash": token_hash(token)} | _bounds(now))).one_or_none()
    if row is None:
        return None
    owner = OperatorId(row.operator_id) if row.operator_id else None
    return OpsKey(KeyId(row.id), owner, Role(row.role), row["name"]), row.seen_at


async def valid(connection: Connection, tokens: Sequence[str], now: datetime) -> frozenset[str]:
    """Returns which of these tokens are valid. Neither their session nor their key has ended."""
    hashes = {token_hash(token): token for token in tokens}
    query = select(S.token_hash).select_from(_FROM).where(is_any(S.token_hash, sorted(hashes)), *_VALID)
    found = (await connection.execute(query, _bounds(now))).scalars()
    return frozenset(hashes[bytes(each)] for each in found)


async def note_seen(connection: Connection, tokens: Sequence[str], now: datetime) -> None:
    """Notes that sessions are in use, unless noted just before."""
    hashes = sorted(token_hash(token) for token in tokens)
    stale = S.seen_at <= now - SEEN_AGAIN
    await connection.execute(
        update(console_sessions)
        .where(is_any(S.token_hash, hashes), stale)
        .values(seen_at=func.greatest(S.seen_at, now))
    )


async def remove(connection: Connection, token: str) -> None:
    await connection.execute(delete(console_sessions).where(S.token_hash == token_hash(token)))


@frozen
class OpenSession:
    token_hash: bytes
    created_at: datetime
    seen_at: datetime


async def of_key(connection: Connection, key_id: KeyId, now: datetime) -> list[OpenSession]:
    """Returns a key's sessions that are not over, the newest first."""
    query = (
        select(S.token_hash, S.created_at, S.seen_at)
        .select_from(_FROM)
        .where(S.ops_key_id == bindparam("key"), *_VALID)
        .order_by(S.created_at.desc(), S.token_hash)
    )
    rows = await connection.execute(query, {"key": key_id} | _bounds(now))
    return [OpenSession(bytes(row.token_hash), row.created_at, row.seen_at) for row in rows]


async def end(connection: Connection, key_id: KeyId, hashes: Sequence[bytes]) -> None:
    """Deletes sessions of a key."""
    these = (S.ops_key_id == key_id) & is_any(S.token_hash, sorted(hashes))
    await connection.execute(delete(console_sessions).where(these))
