"""What was learned about each charge point: one JSON document in its row."""

from pydantic import TypeAdapter
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.habits import Habits
from app.domain.ids import ChargePointId, OperatorId
from app.store.tables import charge_points

C = charge_points.c
_ADAPTER = TypeAdapter(Habits)


async def get(connection: AsyncConnection, operator_id: OperatorId, charge_point_id: ChargePointId) -> Habits:
    """What is known; a charge point that taught nothing yet has the default, which is pessimistic."""
    query = select(C.habits).where(C.operator_id == operator_id, C.charge_point_id == charge_point_id)
    kept = (await connection.execute(query)).scalar()
    return _ADAPTER.validate_python(kept) if kept else Habits()


async def put(
    connection: AsyncConnection, operator_id: OperatorId, charge_point_id: ChargePointId, known: Habits
) -> None:
    """Two sessions of one charge point never run at once, so the last word is the newest."""
    mine = (C.operator_id == operator_id) & (C.charge_point_id == charge_point_id)
    document = _ADAPTER.dump_python(known, mode="json")
    await connection.execute(update(charge_points).where(mine).values(habits=document))
