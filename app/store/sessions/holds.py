"""Stores the references of all holds, first ones and top-ups. Each pays for one session, once."""

from datetime import datetime

from sqlalchemy import BindParameter, Select, bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert

from app.domain.session.payment_session import PaymentSession
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId, SessionId, TerminalId
from app.store.db.connection import Connection
from app.store.tables import hold_policies, holds

H = holds.c


# Built once: every payment executes them.
_TAKE = insert(holds).on_conflict_do_nothing().returning(H.session_id)
_FIND = select(H.session_id, H.amount_minor).where(
    H.terminal_id == bindparam("terminal"), H.reference == bindparam("wanted")
)


@frozen
class KnownHold:
    """The session and amount that a reference was used for before."""

    session_id: SessionId
    amount_minor: int


async def take(
    connection: Connection, session: PaymentSession, reference: str, amount_minor: int, now: datetime
) -> bool:
    """Claims a reference for a session of its terminal. False when it is taken."""
    row = {
        "terminal_id": session.terminal_id,
        "reference": reference,
        "session_id": session.id,
        "operator_id": session.operator_id,
        "amount_minor": amount_minor,
        "recorded_at": now,
    }
    made = await connection.execute(_TAKE, row)
    return made.one_or_none() is not None


async def find(connection: Connection, terminal_id: TerminalId, reference: str) -> KnownHold | None:
    given = {"terminal": terminal_id, "wanted": reference}
    row = (await connection.execute(_FIND, given)).one_or_none()
    return KnownHold(SessionId(row.session_id), row.amount_minor) if row else None


def session_ids(terminal_id: BindParameter[str], reference: BindParameter[str]) -> Select[tuple[str]]:
    """Subquery for the sessions of a hold's reference."""
    return select(H.session_id).where(H.terminal_id == terminal_id, H.reference == reference)


def sessions_of_any_terminal(reference: BindParameter[str]) -> Select[tuple[str]]:
    """Selects sessions with a hold of this reference, at any terminal. A reference is unique within its terminal
    only."""
    return select(H.session_id).where(H.reference == reference)


async def set_days(
    connection: Connection, operator_id: OperatorId, brand: str | None, days: int | None
) -> None:
    """Sets for how many days a card scheme's holds are valid. Scheme None: all others. Days None: the default."""
    p, name = hold_policies.c, (brand or "").lower()
    if days is None:
        await connection.execute(delete(hold_policies).where(p.operator_id == operator_id, p.brand == name))
        return
    statement = insert(hold_policies).values(operator_id=operator_id, brand=name, days=days)
    await connection.execute(
        statement.on_conflict_do_update(index_elements=[p.operator_id, p.brand], set_={"days": days})
    )


async def all_days_of(connection: Connection, operator_id: OperatorId) -> list[tuple[str, int]]:
    """Card schemes and their days; an empty scheme stands for all others."""
    p = hold_policies.c
    query = select(p.brand, p.days).where(p.operator_id == operator_id).order_by(p.brand)
    return [(row.brand, row.days) for row in await connection.execute(query)]
