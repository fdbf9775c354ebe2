"""Stores terminals and their charge points."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import bindparam, insert, select
from sqlalchemy.dialects.postgresql import insert as pg_insert

from app.domain.session.machine import Caller
from app.domain.units.ids import ChargePointId, OperatorId, TerminalId
from app.store.db.connection import Connection
from app.store.tables import charge_points, terminal_charge_points, terminals


@dataclass(frozen=True, slots=True)
class Terminal:
    """One payment terminal; `provider` is the slug that Monta's receipts show."""

    id: TerminalId
    operator_id: OperatorId
    provider: str
    name: str
    key: Caller | None = field(default=None, compare=False)
    """The key that a call was made with. None: not from a call."""


async def add_terminal(connection: Connection, terminal: Terminal, now: datetime) -> None:
    await connection.execute(
        insert(terminals).values(
            id=terminal.id,
            operator_id=terminal.operator_id,
            provider=terminal.provider,
            name=terminal.name,
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


_T, _LINKS = terminals.c, terminal_charge_points.c

# Built once: every call of the API executes some of them.
_TERMINAL = select(_T.id, _T.operator_id, _T.provider, _T.name)
_BY_ID = _TERMINAL.where(_T.id == bindparam("terminal"))
_LINK = select(_LINKS.terminal_id).where(
    _LINKS.terminal_id == bindparam("terminal"), _LINKS.charge_point_id == bindparam("point")
)


async def terminal_by_id(connection: Connection, terminal_id: TerminalId) -> Terminal | None:
    row = (await connection.execute(_BY_ID, {"terminal": terminal_id})).one_or_none()
    return Terminal(TerminalId(row.id), OperatorId(row.operator_id), row.provider, row.name) if row else None


async def providers_of(connection: Connection, operator_id: OperatorId) -> frozenset[str]:
    """Provider slugs of the operator's terminals."""
    query = select(terminals.c.provider).where(terminals.c.operator_id == operator_id).distinct()
    return frozenset((await connection.execute(query)).scalars())


async def is_assigned(
    connection: Connection, terminal_id: TerminalId, charge_point_id: ChargePointId
) -> bool:
    given = {"terminal": terminal_id, "point": charge_point_id}
    return (await connection.execute(_LINK, given)).one_or_none() is not None
