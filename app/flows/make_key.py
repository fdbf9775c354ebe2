"""Makes an API key within a transaction: its secret is shown once, its hash is stored."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.domain.units.ids import KeyId, OperatorId, TerminalId
from app.flows.context import Context
from app.store.db.connection import Connection
from app.store.operators import keys
from app.store.operators.keys import ApiKey, KeyKind, Role


@dataclass(frozen=True, slots=True)
class AddedKey:
    """`id` names a terminal or an operations key. `api_key` is shown now and never again."""

    id: str
    api_key: str = field(repr=False)
    key_id: KeyId
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTerms:
    """Name and validity of a new key. `expires_in` None: until it is revoked."""

    name: str
    expires_in: timedelta | None = None


async def make_key(
    context: Context,
    connection: Connection,
    terms: KeyTerms,
    *,
    operator_id: OperatorId | None,
    terminal_id: TerminalId | None = None,
    role: Role | None = None,
) -> AddedKey:
    """Makes a key of a terminal, or without one of operations, which have a role."""
    now, kind = context.clock.now(), KeyKind.OPS if terminal_id is None else KeyKind.TERMINAL
    key = ApiKey(
        id=KeyId(context.ids.new("opk" if kind is KeyKind.OPS else "key")),
        kind=kind,
        operator_id=operator_id,
        terminal_id=terminal_id,
        role=role,
        name=terms.name,
        created_at=now,
        expires_at=None if terms.expires_in is None else now + terms.expires_in,
    )
    secret = context.ids.secret(f"tw_{kind}")
    await keys.add(connection, key, keys.key_hash(secret))
    return AddedKey(terminal_id or key.id, secret, key.id, key.expires_at)
