"""Removes operators and terminals that have no history."""

from sqlalchemy import delete, func, select

from app.domain.units.ids import OperatorId, TerminalId
from app.store.db.connection import Connection
from app.store.tables import (
    api_keys,
    charge_points,
    deliveries,
    event_endpoints,
    events,
    hold_policies,
    inbox,
    monta_budgets,
    monta_tokens,
    operator_jobs,
    operators,
    orphans,
    outages,
    payment_sessions,
    polled_reports,
    price_groups,
    tariffs,
    terminal_charge_points,
    terminals,
)

P, T = payment_sessions.c, terminals.c

CONFIGURED = (
    *(event_endpoints, events),
    *(outages, api_keys, operator_jobs, tariffs, hold_policies, charge_points, price_groups),
    *(monta_tokens, monta_budgets, inbox, deliveries, polled_reports, orphans),
)
"""Tables whose rows go with an operator that has neither terminals nor sessions."""


async def count_sessions(
    connection: Connection, *, operator_id: OperatorId | None = None, terminal_id: TerminalId | None = None
) -> int:
    """Payment sessions of an operator or of one terminal."""
    mine = P.operator_id == operator_id if terminal_id is None else P.terminal_id == terminal_id
    counted: int = (
        await connection.execute(select(func.count()).select_from(payment_sessions).where(mine))
    ).scalar_one()
    return counted


async def count_terminals(connection: Connection, operator_id: OperatorId) -> int:
    query = select(func.count()).select_from(terminals).where(T.operator_id == operator_id)
    counted: int = (await connection.execute(query)).scalar_one()
    return counted


async def remove_operator(connection: Connection, operator_id: OperatorId) -> None:
    """Removes an operator; a foreign key may refuse. A session or a terminal may have come meanwhile."""
    for table in CONFIGURED:
        await connection.execute(delete(table).where(table.c.operator_id == operator_id))
    await connection.execute(delete(operators).where(operators.c.id == operator_id))


async def remove_terminal(connection: Connection, terminal_id: TerminalId) -> None:
    """Removes a terminal with its keys; a foreign key may refuse. A session may have come meanwhile."""
    for table in (event_endpoints, events, api_keys, terminal_charge_points, outages):
        await connection.execute(delete(table).where(table.c.terminal_id == terminal_id))
    await connection.execute(delete(terminals).where(T.id == terminal_id))
