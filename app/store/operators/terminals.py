"""Stores terminals, their charge points, and the API keys of terminals and operations."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.dialects.postgresql import insert as pg_insert

from app.domain.units.ids import ChargePointId, OperatorId, TerminalId
from app.store.db.connection import Connection
from app.store.tables import charge_points, ops_keys, terminal_charge_points, terminals


@dataclass(frozen=True, slots=True)
class Terminal:
    """One payment terminal; `provider` is the slug that Monta's receipts show."""

    id: TerminalId
    operator_id: OperatorId
    provider: str
    name: str


@dataclass(frozen=True, slots=True)
class OpsKey:
    """An operations key; `operator_id` None sees every operator."""

    id: str
    operator_id: OperatorId | None


def key_hash(api_key: str) -> bytes:
    """Hashes an API key; keys are long and random, so a plain hash is enough."""
    return hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).digest()


async def add_terminal(connection: Connection, terminal: Terminal, api_key: str, now: datetime) -> None:
    await connection.execute(
        insert(terminals).values(
            id=terminal.id,
            operator_id=terminal.operator_id,
            provider=terminal.provider,
            name=terminal.name,
            key_hash=key_hash(api_key),
            created_at=now,
        )
    )


async def assign(
    connection: Connection, terminal: Terminal, charge_point_ids: Sequence[ChargePointId]
) -> None:
    """Assigns charge points to a terminal of the operator; unknown charge points are left for sync."""
    rows = [
        {"operator_id": terminal.operator_id, "charge_point_id": c} for c in sorted(set(charge_point_ids))
    ]
    await connection.execute(pg_insert(charge_points).values(rows).on_conflict_do_nothing())
    links = [row | {"terminal_id": terminal.id} for row in rows]
    await connection.execute(pg_insert(terminal_charge_points).values(links).on_conflict_do_nothing())


async def terminal_by_key(connection: Connection, api_key: str) -> Terminal | None:
    t = terminals.c
    query = select(t.id, t.operator_id, t.provider, t.name).where(
        t.key_hash == key_hash(api_key), t.revoked_at.is_(None)
    )
    row = (await connection.execute(query)).one_or_none()
    return Terminal(TerminalId(row.id), OperatorId(row.operator_id), row.provider, row.name) if row else None


async def terminal_by_id(connection: Connection, terminal_id: TerminalId) -> Terminal | None:
    t = terminals.c
    row = (
        await connection.execute(select(t.id, t.operator_id, t.provider, t.name).where(t.id == terminal_id))
    ).one_or_none()
    return Terminal(TerminalId(row.id), OperatorId(row.operator_id), row.provider, row.name) if row else None


async def providers_of(connection: Connection, operator_id: OperatorId) -> frozenset[str]:
    """Provider slugs of the operator's terminals, revoked ones too."""
    query = select(terminals.c.provider).where(terminals.c.operator_id == operator_id).distinct()
    return frozenset((await connection.execute(query)).scalars())


async def is_assigned(
    connection: Connection, terminal_id: TerminalId, charge_point_id: ChargePointId
) -> bool:
    links = terminal_charge_points.c
    query = select(links.terminal_id).where(
        links.terminal_id == terminal_id, links.charge_point_id == charge_point_id
    )
    return (await connection.execute(query)).one_or_none() is not None


async def add_ops_key(connection: Connection, key: OpsKey, api_key: str, now: datetime) -> None:
    await connection.execute(
        insert(ops_keys).values(
            id=key.id, operator_id=key.operator_id, key_hash=key_hash(api_key), created_at=now
        )
    )


async def ops_key_by_key(connection: Connection, api_key: str) -> OpsKey | None:
    k = ops_keys.c
    query = select(k.id, k.operator_id).where(k.key_hash == key_hash(api_key), k.revoked_at.is_(None))
    row = (await connection.execute(query)).one_or_none()
    return OpsKey(row.id, OperatorId(row.operator_id) if row.operator_id else None) if row else None
