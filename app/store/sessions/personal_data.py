"""Finds and clears what sessions keep of a person beside their document."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Integer, bindparam, or_, select, update

from app.domain.session.payment_session import ENDED_STATUSES
from app.domain.units.ids import OperatorId, SessionId
from app.store.db.connection import Connection
from app.store.db.statements import is_any
from app.store.tables import payment_sessions

P = payment_sessions.c


async def of_old_sessions(
    connection: Connection, operator_id: OperatorId, before: datetime, *, limit: int
) -> list[SessionId]:
    """Finds old ended sessions that still keep personal data. Recorded before a time, oldest first."""
    given = {"operator": operator_id, "before": before, "most": limit}
    return [SessionId(row.id) for row in await connection.execute(_OLD, given)]


_OLD = (
    select(P.id)
    .where(P.operator_id == bindparam("operator"), P.personal, P.created_at < bindparam("before"))
    .where(is_any(P.status, sorted(ENDED_STATUSES)))
    .order_by(P.created_at)
    .limit(bindparam("most", type_=Integer()))
)


async def of_card(
    connection: Connection, token: str, *, operator_id: OperatorId | None, limit: int
) -> list[SessionId]:
    """Sessions of a card by its fingerprint or account reference, oldest first."""
    query = select(P.id).where(or_(P.card_fingerprint == token, P.card_account_reference == token))
    if operator_id is not None:
        query = query.where(P.operator_id == operator_id)
    rows = await connection.execute(query.order_by(P.created_at).limit(limit))
    return [SessionId(row.id) for row in rows]


async def clear(connection: Connection, session_ids: Sequence[SessionId]) -> None:
    """Clears the columns about the card."""
    nothing = dict.fromkeys(("card_last4", "card_fingerprint", "card_account_reference"))
    query = update(payment_sessions).where(is_any(P.id, session_ids)).values(**nothing, personal=False)
    await connection.execute(query)
