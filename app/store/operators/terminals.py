"""Stores terminals and their charge points."""

from collections.abc import Sequence
from dataclasses import field
from datetime import datetime

from sqlalchemy import bindparam, delete, exists, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert

from app.domain.session.machine import Caller
from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargePointId, OperatorId, TerminalId
from app.store.db.connection import Connection
from app.store.db.statements import is_any
from app.store.operators.charge_points import KnownChargePoint, known_from
from app.store.tables import (
    charge_points,
    operators,
    payment_sessions,
    terminal_charge_points,
    terminals,
)


@frozen
class Terminal:
    """One payment terminal; `provider` is the slug that Monta's receipts show."""

    id: TerminalId
    operator_id: OperatorId
    provider: str
    name: str
    key: Caller | None = field(default=None, compare=False)
    """The key that a call was made with. None: not from a call."""


@frozen(kw_only=True)
class ListedTerminal:
    terminal: Terminal
    charge_point_ids: tuple[ChargePointId, ...]
    created_at: datetime


async def add_terminal(connection: Connection, terminal: Terminal, now: datetime) -> None:
    await add_terminals(connection, [terminal], now)


async def add_terminals(connection: Connection, new: Sequence[Terminal], now: datetime) -> None:
    rows = [
        {
            "id": each.id,
            "operator_id": each.operator_id,
            "provider": each.provider,
            "name": each.name,
            "created_at": now,
        }
        for each in new
    ]
    await connection.execute(insert(terminals), rows)


async def assign(
    connection: Connection, terminal: Terminal, charge_point_ids: Sequence[ChargePointId]
) -> None:
    """Assigns charge points to a terminal of the operator. Unknown charge points are left for sync."""
    await assign_all(connection, [(terminal, charge_point_ids)])


async def assign_all(
    connection: Connection, wanted: Sequence[tuple[Terminal, Sequence[ChargePointId]]]
) -> None:
    """Assigns charge points to several terminals, as `assign` does, in two statements."""
    pairs = {(t.operator_id, point) for t, points in wanted for point in points}
    rows = [{"operator_id": o, "charge_point_id": point} for o, point in sorted(pairs)]
    await connection.execute(pg_insert(charge_points).on_conflict_do_nothing(), rows)
    links = [
        {"operator_id": t.operator_id, "charge_point_id": point, "terminal_id": t.id}
        for t, points in wanted
        for point in sorted(set(points))
    ]
    await connection.execute(pg_insert(terminal_charge_points).on_conflict_do_nothing(), links)


async def unassign(
    connection: Connection, terminal_id: TerminalId, charge_point_ids: Sequence[ChargePointId]
) -> None:
    """Takes charge points from a terminal. Sessions that run there stay its own."""
    links = terminal_charge_points.c
    mine = (links.terminal_id == terminal_id, is_any(links.charge_point_id, charge_point_ids))
    await connection.execute(delete(terminal_charge_points).where(*mine))


async def rename(connection: Connection, terminal_id: TerminalId, name: str) -> None:
    await connection.execute(update(terminals).where(terminals.c.id == terminal_id).values(name=name))


async def listed(
    connection: Connection, *, operator_id: OperatorId | None = None, terminal_id: TerminalId | None = None
) -> list[ListedTerminal]:
    """Terminals with their charge points, oldest first; None: of every operator, all of them."""
    wanted = [terminals.c.operator_id == operator_id] if operator_id is not None else []
    if terminal_id is not None:
        wanted.append(terminals.c.id == terminal_id)
    query = (
        select(
            *_TERMINAL.selected_columns, _T.created_at, func.array_agg(_LINKS.charge_point_id).label("points")
        )
        .select_from(terminals.outerjoin(terminal_charge_points, _LINKS.terminal_id == _T.id))
        .where(*wanted)
        .group_by(_T.id)
        .order_by(_T.created_at, _T.id)
    )
    return [
        ListedTerminal(
            terminal=Terminal(
                TerminalId(row["id"]), OperatorId(row["operator_id"]), row["provider"], row["name"]
            ),
            charge_point_ids=tuple(sorted((p for p in row["points"] if p is not None), key=_by_number)),
            created_at=row["created_at"],
        )
        for row in await connection.execute(query)
    ]


def _by_number(charge_point_id: str) -> tuple[int, str]:
    return len(charge_point_id), charge_point_id


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


@frozen
class TerminalChargePoint:
    """A charge point of a terminal, with some of its operator's policies."""

    point: KnownChargePoint
    is_occupied: bool
    """Whether a session of ours has it, of whichever terminal."""
    time_zone: str
    hold_max_eur: int | None


_S = payment_sessions.c
_OCCUPIED = (
    exists()
    .where(
        _S.operator_id == charge_points.c.operator_id,
        _S.charge_point_id == charge_points.c.charge_point_id,
        _S.occupies_charge_point,
    )
    .correlate(charge_points)
)
_CHARGE_POINTS = (
    select(charge_points, _OCCUPIED.label("is_occupied"), operators.c.time_zone, operators.c.hold_max_eur)
    .select_from(
        charge_points.join(
            terminal_charge_points,
            (_LINKS.operator_id == charge_points.c.operator_id)
            & (_LINKS.charge_point_id == charge_points.c.charge_point_id),
        ).join(operators, operators.c.id == charge_points.c.operator_id)
    )
    .where(_LINKS.terminal_id == bindparam("terminal"))
    .order_by(charge_points.c.charge_point_id)
)


async def charge_points_of(connection: Connection, terminal_id: TerminalId) -> list[TerminalChargePoint]:
    rows = await connection.execute(_CHARGE_POINTS, {"terminal": terminal_id})
    return [
        TerminalChargePoint(known_from(row), row["is_occupied"], row["time_zone"], row["hold_max_eur"])
        for row in rows
    ]


async def is_used(connection: Connection, charge_point_id: ChargePointId) -> bool:
    """Whether any operator's terminal uses this charge point."""
    assigned = terminal_charge_points.c
    query = select(assigned.terminal_id).where(assigned.charge_point_id == charge_point_id).limit(1)
    return (await connection.execute(query)).one_or_none() is not None
