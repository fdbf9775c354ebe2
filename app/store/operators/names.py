"""Reads names of operators, terminals and charge points, and where those are."""

from collections.abc import Collection, Mapping

from sqlalchemy import select

from app.domain.charging.charge_point import Place
from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargePointId, OperatorId, TerminalId
from app.store.db.connection import Connection
from app.store.db.statements import are_any, is_any
from app.store.tables import charge_points, operators, terminals

Point = tuple[OperatorId, ChargePointId]


@frozen(kw_only=True)
class Names:
    """Names by id. A charge point that Monta did not name yet is missing."""

    operators: Mapping[OperatorId, str]
    terminals: Mapping[TerminalId, str]
    points: Mapping[Point, str]


async def names_of(
    connection: Connection, terminal_ids: Collection[TerminalId], points: Collection[Point]
) -> Names:
    """Returns names of terminals, charge points and their operators."""
    o, t, c = operators.c, terminals.c, charge_points.c
    operator_ids = sorted({operator_id for operator_id, _ in points})
    of_operators = await connection.execute(select(o.id, o.name).where(is_any(o.id, operator_ids)))
    of_terminals = await connection.execute(
        select(t.id, t.name).where(is_any(t.id, sorted(set(terminal_ids))))
    )
    of_points = await connection.execute(
        select(c.operator_id, c.charge_point_id, c.name).where(
            are_any((c.operator_id, c.charge_point_id), sorted(set(points))), c.name.is_not(None)
        )
    )
    return Names(
        operators={OperatorId(row.id): row.name for row in of_operators},
        terminals={TerminalId(row.id): row.name for row in of_terminals},
        points={
            (OperatorId(row.operator_id), ChargePointId(row.charge_point_id)): row.name for row in of_points
        },
    )


async def places_of(connection: Connection, points: Collection[Point]) -> dict[Point, Place]:
    """Returns where charge points are. Those that Monta never showed have an empty place."""
    c = charge_points.c
    rows = await connection.execute(
        select(c.operator_id, c.charge_point_id, c.name, c.evse_id, c.site_id, c.address).where(
            are_any((c.operator_id, c.charge_point_id), sorted(set(points)))
        )
    )
    return {
        (OperatorId(row.operator_id), ChargePointId(row.charge_point_id)): Place(
            name=row.name, evse_id=row.evse_id, site_id=row.site_id, address=row.address
        )
        for row in rows
    }
