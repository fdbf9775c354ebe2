"""Makes an API key within a transaction. Its secret is shown once, its hash is stored."""

from collections.abc import Sequence
from dataclasses import field
from datetime import datetime, timedelta

from app.domain.units.frozen import frozen
from app.domain.units.ids import KeyId, OperatorId, TerminalId
from app.flows.context import Context
from app.store.db.connection import Connection
from app.store.operators import keys
from app.store.operators.keys import ApiKey, KeyKind, Role


class TerminalUnknown(Exception):
    def __init__(self, terminal_id: str) -> None:
        super().__init__(f"there is no terminal {terminal_id!r}; `tapwatt terminal list` shows them")


@frozen
class AddedKey:
    """`id` names a terminal or an operations key. `api_key` is shown now and never again."""

    id: str
    api_key: str = field(repr=False)
    key_id: KeyId
    expires_at: datetime | None = None


@frozen(kw_only=True)
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
    """Makes a terminal's key, or one of operations with a role. Without a terminal it is one of operations."""
    key, secret = _drawn(context, terms, operator_id, terminal_id, role)
    await keys.add(connection, (key, keys.key_hash(secret)))
    return AddedKey(terminal_id or key.id, secret, key.id, key.expires_at)


async def make_terminal_keys(
    context: Context,
    connection: Connection,
    terms: KeyTerms,
    operator_id: OperatorId,
    terminal_ids: Sequence[TerminalId],
) -> list[AddedKey]:
    """Makes a key for each of these terminals, in one statement."""
    drawn = [_drawn(context, terms, operator_id, each, None) for each in terminal_ids]
    await keys.add(connection, *((key, keys.key_hash(secret)) for key, secret in drawn))
    return [
        AddedKey(each, secret, key.id, key.expires_at)
        for each, (key, secret) in zip(terminal_ids, drawn, strict=True)
    ]


def _drawn(
    context: Context,
    terms: KeyTerms,
    operator_id: OperatorId | None,
    terminal_id: TerminalId | None,
    role: Role | None,
) -> tuple[ApiKey, str]:
    """A new key and its secret."""
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
    return key, context.ids.secret(f"tw_{kind}")
