"""The row of a settlement: written once, in the transaction that ends its session."""

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.payment_session import PaymentSession
from app.domain.settlement import Settlement
from app.store.session_codec import shares_of
from app.store.tables import settlements


async def write(
    connection: AsyncConnection, session: PaymentSession, settlement: Settlement, *, first: bool
) -> None:
    """Insert it once; afterwards only what the PSP reported about it may change."""
    where = settlements.c.session_id == session.id
    if not first:
        reported = {"status": settlement.status, "shares": shares_of(settlement)}
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
        )
    )
