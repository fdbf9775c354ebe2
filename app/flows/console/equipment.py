"""Lists terminals and charge points with state, price and use."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId, TerminalId
from app.flows.availability import Month, read_month
from app.flows.context import Context
from app.store.operators import charge_points, equipment
from app.store.operators.charge_points import KnownChargePoint, TariffFound
from app.store.operators.equipment import KnownTerminal, OwnCharge, Place, Use
from app.store.operators.names import Names, names_of

MOST_SHOWN = 500
USED_WITHIN = timedelta(days=7)


@frozen(kw_only=True)
class Equipment:
    """MOST_SHOWN terminals and charge points at most; use within USED_WITHIN."""

    terminals: list[KnownTerminal]
    terminal_use: Mapping[TerminalId, Use]
    points: list[KnownChargePoint]
    point_use: Mapping[Place, Use]
    occupied: Mapping[Place, OwnCharge]
    prices: Mapping[Place, TariffFound]
    names: Names
    now: datetime
    month: Month


async def list_equipment(context: Context, operator_id: OperatorId | None) -> Equipment:
    """Reads one operator's equipment, or (None) that of all."""
    now = context.clock.now()
    month = await read_month(context, operator_id)
    since = now - USED_WITHIN
    async with context.database.read() as connection:
        points = await equipment.listed_points(connection, operator_id, limit=MOST_SHOWN)
        places = [(p.operator_id, p.id) for p in points]
        found = {place: await charge_points.tariff_for(connection, *place, now) for place in places}
        return Equipment(
            terminals=await equipment.listed_terminals(connection, operator_id, limit=MOST_SHOWN),
            terminal_use=await equipment.use_of_terminals(connection, operator_id, since),
            points=points,
            point_use=await equipment.use_of_points(connection, operator_id, since),
            occupied=await equipment.own_charges(connection, operator_id),
            prices={place: price for place, price in found.items() if price is not None},
            names=await names_of(connection, [], places),
            now=now,
            month=month,
        )
