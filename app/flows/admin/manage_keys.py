"""Adds, lists, changes, revokes and removes API keys. Of terminals and of operations."""

from collections.abc import Sequence
from datetime import timedelta

from app.domain.units.ids import KeyId, OperatorId, TerminalId
from app.flows.context import Context, OperatorUnknown
from app.flows.make_key import AddedKey, KeyTerms, TerminalUnknown, make_key
from app.store.db.connection import Connection
from app.store.operators import keys, operators, terminals
from app.store.operators.keys import ApiKey, KeyKind, Role

MOST_VALID_KEYS = 20
"""Valid keys of one terminal: enough to replace one, and to notice a script that only adds."""


class KeyUnknown(Exception):
    def __init__(self, key_id: str, kind: KeyKind) -> None:
        shown = "tapwatt ops-key list" if kind is KeyKind.OPS else "tapwatt terminal key list"
        if key_id.startswith("tw_"):  # never repeated: it may be a key in use
            super().__init__(f"this is a key itself: name it by its id, which `{shown}` shows")
        else:
            super().__init__(f"there is no such key {key_id!r}; `{shown}` shows them")


class KeyRefused(Exception):
    """What was asked of a key is not possible. Says what to do instead."""


async def add_terminal_key(context: Context, terminal_id: TerminalId, terms: KeyTerms) -> AddedKey:
    """Adds one more key to a terminal. Its sessions are the terminal's, so each of its keys sees all of them.

    Raises TerminalUnknown, KeyRefused.
    """
    now = context.clock.now()
    async with context.database.transaction() as connection:
        terminal = await terminals.terminal_by_id(connection, terminal_id)
        if terminal is None:
            raise TerminalUnknown(terminal_id)
        known = await keys.listed(connection, KeyKind.TERMINAL, operator_id=None, terminal_id=terminal_id)
        if sum(key.is_valid(now) for key in known) >= MOST_VALID_KEYS:
            raise KeyRefused(
                f"terminal {terminal_id!r} has {MOST_VALID_KEYS} valid keys, which is the most: revoke those not"
                " in use (`tapwatt terminal key list` shows when each was)"
            )
        return await make_key(
            context, connection, terms, operator_id=terminal.operator_id, terminal_id=terminal_id
        )


async def add_ops_key(
    context: Context,
    operator_id: OperatorId | None,
    *,
    role: Role = Role.OPERATE,
    terms: KeyTerms = KeyTerms(name="operations"),
) -> AddedKey:
    """Adds a key that sees one operator, or (None) all. Raises OperatorUnknown."""
    async with context.database.transaction() as connection:
        if operator_id is not None and not await operators.exists(connection, operator_id):
            raise OperatorUnknown(operator_id)
        return await make_key(context, connection, terms, operator_id=operator_id, role=role)


async def list_keys(
    context: Context,
    kind: KeyKind,
    *,
    operator_id: OperatorId | None = None,
    terminal_id: TerminalId | None = None,
) -> Sequence[ApiKey]:
    """Keys of one kind, oldest first, revoked and expired ones too. Raises TerminalUnknown."""
    async with context.database.read() as connection:
        if terminal_id is not None and await terminals.terminal_by_id(connection, terminal_id) is None:
            raise TerminalUnknown(terminal_id)
        return await keys.listed(connection, kind, operator_id=operator_id, terminal_id=terminal_id)


async def key_of(context: Context, key_id: KeyId, kind: KeyKind) -> ApiKey:
    """One key. Raises KeyUnknown."""
    async with context.database.read() as connection:
        return await _known(connection, key_id, kind)


async def revoke_key(context: Context, key_id: KeyId, kind: KeyKind) -> ApiKey:
    """Revokes a key: every replica refuses it within a second. Repeatable. Raises KeyUnknown."""
    async with context.database.transaction() as connection:
        await _known(connection, key_id, kind)
        await keys.revoke(connection, key_id, context.clock.now())
        return await _known(connection, key_id, kind)


async def set_key(
    context: Context,
    key_id: KeyId,
    kind: KeyKind,
    *,
    name: str | None = None,
    role: Role | None = None,
    expires_in: timedelta | None = None,
) -> ApiKey:
    """Changes a key's name, expiry (from now), or role (of operations); None: as it is. Raises KeyUnknown,
    KeyRefused."""
    now = context.clock.now()
    async with context.database.transaction() as connection:
        key = await _known(connection, key_id, kind)
        if not key.is_valid(now):
            add = "tapwatt ops-key add" if kind is KeyKind.OPS else "tapwatt terminal key add"
            raise KeyRefused(
                f"the key {key_id!r} is revoked or has expired, and stays so: add one with `{add}`"
            )
        values: dict[str, object] = {"name": name or key.name, "role": role or key.role}
        if expires_in is not None:
            values["expires_at"] = now + expires_in
        await keys.change(connection, key_id, **values)
        return await _known(connection, key_id, kind)


async def remove_ops_key(context: Context, key_id: KeyId) -> None:
    """Removes an operations key that was never used. Journals name the others. Raises KeyUnknown, KeyRefused."""
    async with context.database.transaction() as connection:
        key = await _known(connection, key_id, KeyKind.OPS)
        if key.last_used_at is not None:
            raise KeyRefused(
                f"the key {key_id!r} was used, so journals may name it: revoke it instead with"
                f" `tapwatt ops-key revoke {key_id}`"
            )
        await keys.remove(connection, key_id)


async def _known(connection: Connection, key_id: KeyId, kind: KeyKind) -> ApiKey:
    key = await keys.get(connection, key_id)
    if key is None or key.kind is not kind:
        raise KeyUnknown(key_id, kind)
    return key
