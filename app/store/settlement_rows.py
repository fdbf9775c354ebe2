"""The row of a settlement: written once, in the transaction that ends its session; and which are still open."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.ids import OperatorId, SessionId
from app.domain.payment_session import PaymentSession
from app.domain.settlement import Settlement, SettlementStatus
from app.store.session_codec import shares_of
from app.store.tables import payment_sessions, settlements

S = settlements
DUE = S.c.status == SettlementStatus.DUE
OF_SESSION = S.c.session_id == payment_sessions.c.id


@dataclass(frozen=True, slots=True)
class OpenSettlements:
    """How many wait for word of their outcome; `unheard` of them for so long that a person was asked."""

    due: int
    unheard: int


async def write(
    connection: AsyncConnection, session: PaymentSession, settlement: Settlement, *, first: bool
) -> None:
    """Insert it once; afterwards only what the PSP reported about it may change, and whether a person was asked."""
    where = settlements.c.session_id == session.id
    if not first:
        reported = {
            "status": settlement.status,
            "shares": shares_of(settlement),
            "asked_at": settlement.asked_at,
        }
        await connection.execute(update(settlements).where(where).values(reported))
        return
    await connection.execute(
        insert(settlements).values(
            session_id=session.id,
            action=settlement.action,
            authorized_minor=session.reserved_minor,
            to_capture_minor=settlement.to_capture_minor,
            to_release_minor=settlement.to_release_minor,
            shortfall_minor=settlement.shortfall_minor,
            energy_wh=settlement.energy_wh,
            decided_at=settlement.decided_at,
            deadline=settlement.deadline,
            session_date=settlement.session_date,
            status=settlement.status,
            basis=settlement.basis,
            shares=shares_of(settlement),
            ask_at=settlement.ask_at,
            asked_at=settlement.asked_at,
        )
    )


async def unheard(
    connection: AsyncConnection, operator_id: OperatorId, now: datetime, *, limit: int, offset: int = 0
) -> list[SessionId]:
    """The sessions whose outcome nobody told in time and nobody was asked about, the most overdue first; `offset`
    passes over the first ones."""
    query = (
        select(S.c.session_id)
        .join_from(S, payment_sessions, OF_SESSION)
        .where(DUE, S.c.asked_at.is_(None), S.c.ask_at <= now)
        .where(payment_sessions.c.operator_id == operator_id)
        .order_by(S.c.ask_at, S.c.session_id)
        .offset(offset)
        .limit(limit)
    )
    return [SessionId(row.session_id) for row in await connection.execute(query)]


async def count_open(connection: AsyncConnection, operator_id: OperatorId | None) -> OpenSettlements:
    query = select(func.count(), func.count(S.c.asked_at)).where(DUE)
    if operator_id is not None:
        of_operator = payment_sessions.c.operator_id == operator_id
        query = query.join_from(S, payment_sessions, OF_SESSION).where(of_operator)
    due, asked = (await connection.execute(query)).one()
    return OpenSettlements(due, asked)
