"""Stores terminals, their charge points, and the API keys of terminals and operations."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, insert, select
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
    """Hashes an API key. Keys are long and random, so a plain hash is enough."""
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
    """Assigns charge points to a terminal of the operator. Unknown charge points are left for sync."""
    rows = [
        {"operator_id": terminal.operator_id, "charge_point_id": c} for c in sorted(set(charge_point_ids))
    ]
    await connection.execute(pg_insert(charge_points).values(rows).on_conflict_do_nothing())
    links = [row | {"terminal_id": terminal.id} for row in rows]
    await connection.execute(pg_insert(terminal_charge_points).values(links).on_conflict_do_nothing())


_T, _K, _LINKS = terminals.c, ops_keys.c, terminal_charge_points.c

# Built once: every call of the API executes some of them.
_TERMINAL = select(_T.id, _T.operator_id, _T.provider, _T.name)
_BY_KEY = _TERMINAL.where(_T.key_hash == bindparam("hash"), _T.revoked_at.is_(None))
_BY_ID = _TERMINAL.where(_T.id == bindparam("terminal"))
_LINK = select(_LINKS.terminal_id).where(
    _LINKS.terminal_id == bindparam("terminal"), _LINKS.charge_point_id == bindparam("point")
)
_OPS_KEY = select(_K.id, _K.operator_id).where(_K.key_hash == bindparam("hash"), _K.revoked_at.is_(None))


async def terminal_by_key(connection: Connection, api_key: str) -> Terminal | None:
    row = (await connection.execute(_BY_KEY, {"hash": key_hash(api_key)})).one_or_none()
    return Terminal(TerminalId(row.id), OperatorId(row.operator_id), row.provider, row.name) if row else None


async def terminal_by_id(connection: Connection, terminal_id: TerminalId) -> Terminal | None:
    row = (await connection.execute(_BY_ID, {"terminal": terminal_id})).one_or_none()
    return Terminal(TerminalId(row.id), OperatorId(row.operator_id), row.provider, row.name) if row else None


async def providers_of(connection: Connection, operator_id: OperatorId) -> frozenset[str]:
    """Provider slugs of the operator's terminals, revoked ones too."""
    query = select(terminals.c.provider).where(terminals.c.operator_id == operator_id).distinct()
    return frozenset((await connection.execute(query)).scalars())


async def is_assigned(
    connection: Connection, terminal_id: TerminalId, charge_point_id: ChargePointId
) -> bool:
    given = {"terminal": terminal_id, "point": charge_point_id}
    return (await connection.execute(_LINK, given)).one_or_none() is not None


async def add_ops_key(connection: Connection, key: OpsKey, api_key: str, now: datetime) -> None:
    await connection.execute(
        insert(ops_keys).values(
            id=key.id, operator_id=key.operator_id, key_hash=key_hash(api_key), created_at=now
        )
    )


async def ops_key_by_key(connection: Connection, api_key: str) -> OpsKey | None:
    row = (await connection.execute(_OPS_KEY, {"hash": key_hash(api_key)})).one_or_none()
    return OpsKey(row.id, OperatorId(row.operator_id) if row.operator_id else None) if row else None
