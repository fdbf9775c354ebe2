"""Stores API keys of terminals and operations. Only their hashes, with expiry, revocation and last use."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import bindparam, delete, insert, or_, select, update

from app.domain.session.machine import Caller
from app.domain.units.frozen import frozen
from app.domain.units.ids import KeyId, OperatorId, TerminalId
from app.store.db.connection import Connection, Row
from app.store.operators.terminals import Terminal
from app.store.tables import api_keys, terminals

K, T = api_keys.c, terminals.c


class KeyKind(StrEnum):
    TERMINAL = "terminal"
    OPS = "ops"


class Role(StrEnum):
    """What an operations key may do. See only, or also stop, settle, close and acknowledge."""

    READ = "read"
    OPERATE = "operate"


@frozen(kw_only=True)
class ApiKey:
    """One key without its secret. `operator_id` None: an operations key for every operator."""

    id: KeyId
    kind: KeyKind
    operator_id: OperatorId | None
    terminal_id: TerminalId | None = None
    role: Role | None = None
    name: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    last_used_from: str | None = None

    def is_valid(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@frozen
class OpsKey:
    """An operations key that was presented; `operator_id` None sees every operator."""

    id: KeyId
    operator_id: OperatorId | None
    role: Role = Role.OPERATE
    name: str = "operations"

    @property
    def caller(self) -> Caller:
        return Caller(self.id, self.name)


@frozen
class PresentedKey:
    """A key that is not revoked, and whom it stands for. Check `expires_at` at every use: it may be cached."""

    id: KeyId
    principal: Terminal | OpsKey
    expires_at: datetime | None

    def is_valid(self, now: datetime) -> bool:
        return self.expires_at is None or now < self.expires_at


@frozen
class KeyUse:
    """The last use of a key that a process saw."""

    key_id: KeyId
    at: datetime
    address: str | None


USE_RECORDED = timedelta(minutes=1)
"""A key's last use is written at most this often, whatever the number of replicas."""


def key_hash(api_key: str) -> bytes:
    """Hashes an API key. Keys are long and random, so a plain hash is enough."""
    return hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).digest()


# Built once: every call of the API executes it, unless the key is cached.
_PRESENTED = (
    select(
        K.id,
        K.kind,
        K.operator_id,
        K.role,
        K.name,
        K.expires_at,
        K.terminal_id,
        T.provider,
        T.name.label("lane"),
    )
    .select_from(api_keys.outerjoin(terminals, T.id == K.terminal_id))
    .where(K.key_hash == bindparam("hash"), K.revoked_at.is_(None))
)
_USED = (
    update(api_keys)
    .where(
        K.id == bindparam("key"),
        or_(K.last_used_at.is_(None), K.last_used_at <= bindparam("before")),
    )
    .values(last_used_at=bindparam("at"), last_used_from=bindparam("address"))
)


async def presented(connection: Connection, hashed: bytes) -> PresentedKey | None:
    """The key with this hash, unless it was revoked."""
    row = (await connection.execute(_PRESENTED, {"hash": hashed})).one_or_none()
    if row is None:
        return None
    key_id = KeyId(row["id"])
    if row["kind"] == KeyKind.TERMINAL:
        operator = OperatorId(row["operator_id"])
        caller = Caller(key_id, row["name"])
        terminal = Terminal(TerminalId(row["terminal_id"]), operator, row["provider"], row["lane"], caller)
        return PresentedKey(key_id, terminal, row["expires_at"])
    owner = OperatorId(row["operator_id"]) if row["operator_id"] else None
    return PresentedKey(key_id, OpsKey(key_id, owner, Role(row["role"]), row["name"]), row["expires_at"])


async def add(connection: Connection, *new: tuple[ApiKey, bytes]) -> None:
    """Adds keys with their hashes."""
    rows = [
        {
            "id": key.id,
            "kind": key.kind,
            "operator_id": key.operator_id,
            "terminal_id": key.terminal_id,
            "role": key.role,
            "name": key.name,
            "key_hash": hashed,
            "created_at": key.created_at,
            "expires_at": key.expires_at,
        }
        for key, hashed in new
    ]
    await connection.execute(insert(api_keys), rows)


async def listed(
    connection: Connection,
    kind: KeyKind,
    *,
    operator_id: OperatorId | None,
    terminal_id: TerminalId | None = None,
) -> list[ApiKey]:
    """Keys of one kind, oldest first, revoked and expired ones too; None: of every operator or terminal."""
    wanted = [K.kind == kind]
    if operator_id is not None:
        wanted.append(K.operator_id == operator_id)
    if terminal_id is not None:
        wanted.append(K.terminal_id == terminal_id)
    rows = await connection.execute(select(api_keys).where(*wanted).order_by(K.created_at, K.id))
    return [_key(row) for row in rows]


async def get(connection: Connection, key_id: KeyId) -> ApiKey | None:
    row = (await connection.execute(select(api_keys).where(K.id == key_id))).one_or_none()
    return None if row is None else _key(row)


async def revoke(connection: Connection, key_id: KeyId, now: datetime) -> None:
    """Revokes a key; one that is revoked keeps its first time. A trigger announces it on KEYS_CHANNEL."""
    await connection.execute(
        update(api_keys).where(K.id == key_id, K.revoked_at.is_(None)).values(revoked_at=now)
    )


async def change(connection: Connection, key_id: KeyId, **values: Any) -> None:
    """Sets columns of a key (name, role, expires_at)."""
    await connection.execute(update(api_keys).where(K.id == key_id).values(**values))


async def remove(connection: Connection, key_id: KeyId) -> None:
    await connection.execute(delete(api_keys).where(K.id == key_id))


async def record_uses(connection: Connection, uses: Sequence[KeyUse]) -> None:
    """Writes when and from where keys were last used. Unless that was done within USE_RECORDED."""
    rows = [
        {"key": use.key_id, "before": use.at - USE_RECORDED, "at": use.at, "address": use.address}
        for use in sorted(uses, key=lambda use: use.key_id)
    ]
    if rows:
        await connection.execute(_USED, rows)


def _key(row: Row) -> ApiKey:
    return ApiKey(
        id=KeyId(row["id"]),
        kind=KeyKind(row["kind"]),
        operator_id=OperatorId(row["operator_id"]) if row["operator_id"] else None,
        terminal_id=TerminalId(row["terminal_id"]) if row["terminal_id"] else None,
        role=Role(row["role"]) if row["role"] else None,
        name=row["name"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
        last_used_from=row["last_used_from"],
    )
