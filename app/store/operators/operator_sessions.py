"""Queries over one operator's sessions. How many run, which are silent, and for reconciliation."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Integer, bindparam, cast, func, or_, select

from app.domain.session.payment_session import Status
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId, SessionId
from app.store.db.connection import Connection
from app.store.db.statements import is_any
from app.store.sessions import leases
from app.store.sessions.session_filter import is_active
from app.store.tables import payment_sessions, settlements
from app.store.tables.base import Moment

P = payment_sessions


async def count_running(connection: Connection, operator_id: OperatorId, *, up_to: int) -> int:
    """Counts the operator's sessions that have not ended, `up_to` at most."""
    given = {"operator": operator_id, "most": up_to}
    return int((await connection.execute(_COUNT_RUNNING, given)).scalar_one())


_RUNNING = (
    select(P.c.id)
    .where(P.c.operator_id == bindparam("operator"), is_active())
    .limit(bindparam("most", type_=Integer()))
)
_COUNT_RUNNING = select(func.count()).select_from(_RUNNING.subquery())


async def stale(connection: Connection, operator_id: OperatorId, before: datetime) -> dict[str, datetime]:
    """Returns charges without a report since `before`, with its age. Charges of running sessions."""
    seen_at = cast(P.c.body["charge"]["seen_at"].astext, Moment)
    query = select(P.c.charge_id, seen_at.label("seen_at")).where(
        P.c.operator_id == operator_id, is_active(), P.c.charge_id.is_not(None), seen_at < before
    )
    return {row.charge_id: row.seen_at for row in await connection.execute(query)}


@frozen
class KnownCharge:
    """What reconciliation needs of a session; `settled_minor` includes the shortfall, None: not settled."""

    charge_id: str | None
    currency: str
    settled_minor: int | None
    settled_wh: int | None


async def known_charges(
    connection: Connection, operator_id: OperatorId, references: Sequence[SessionId]
) -> dict[str, KnownCharge]:
    """The operator's sessions among these ids."""
    s = settlements.c
    query = (
        select(
            P.c.id,
            P.c.charge_id,
            P.c.currency,
            (s.to_capture_minor + s.shortfall_minor).label("settled"),
            s.energy_wh,
        )
        .select_from(P.outerjoin(settlements, s.session_id == P.c.id))
        .where(P.c.operator_id == operator_id, is_any(P.c.id, references))
    )
    return {
        row.id: KnownCharge(row.charge_id, row.currency, row.settled, row.energy_wh)
        for row in await connection.execute(query)
    }


async def wake_authorized(connection: Connection, operator_id: OperatorId, now: datetime) -> None:
    """Makes due the operator's sessions whose start was put off. After the end of the reconciliation is recorded.

    Only what waits is locked (`starts_held_since`): waiting for a watcher's sessions would keep the others locked
    meanwhile, and every one of them would cost a transaction of its own.
    """
    locked = await connection.execute(_WAITING, {"operator": operator_id, "now": now})
    await leases.wake(connection, locked.scalars(), now)


_WAITING = (
    select(P.c.id)
    .where(P.c.operator_id == bindparam("operator"), P.c.status == Status.AUTHORIZED)
    .where(or_(P.c.due_at.is_(None), P.c.due_at > bindparam("now", type_=P.c.due_at.type)))
    .order_by(P.c.id)
    .with_for_update()
)
