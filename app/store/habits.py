"""What was learned about each charge point: one JSON document in its row."""

from pydantic import TypeAdapter
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.habits import Habits
from app.domain.ids import ChargePointId, OperatorId
from app.store.tables import charge_points

C = charge_points.c
_ADAPTER = TypeAdapter(Habits)
MOST_SIBLINGS = 20


async def get(connection: AsyncConnection, operator_id: OperatorId, charge_point_id: ChargePointId) -> Habits:
    """What is known; a charge point that taught nothing yet has the default, which is pessimistic."""
    query = select(C.habits).where(C.operator_id == operator_id, C.charge_point_id == charge_point_id)
    kept = (await connection.execute(query)).scalar()
    return _ADAPTER.validate_python(kept) if kept else Habits()


async def of_model(
    connection: AsyncConnection, operator_id: OperatorId, charge_point_id: ChargePointId
) -> list[Habits]:
    """What the operator's other charge points of the same model taught; empty when Monta did not tell the model."""
    own = select(C.model).where(C.operator_id == operator_id, C.charge_point_id == charge_point_id)
    query = (
        select(C.habits)
        .where(C.operator_id == operator_id, C.model == own.scalar_subquery(), C.habits.is_not(None))
        .where(C.charge_point_id != charge_point_id)
        .order_by(C.charge_point_id)
        .limit(MOST_SIBLINGS)
    )
    return [_ADAPTER.validate_python(kept) for kept in (await connection.execute(query)).scalars()]


async def put(
    connection: AsyncConnection, operator_id: OperatorId, charge_point_id: ChargePointId, known: Habits
) -> None:
    """Two sessions of one charge point never run at once, so the last word is the newest."""
    mine = (C.operator_id == operator_id) & (C.charge_point_id == charge_point_id)
    document = _ADAPTER.dump_python(known, mode="json")
    await connection.execute(update(charge_points).where(mine).values(habits=document))
