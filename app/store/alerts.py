"""Stores alerts to operations, and reads what they are judged by."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Label, and_, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from app.domain.alerts.causes import Cause, OperatorHealth
from app.domain.alerts.message import Alert
from app.domain.session.attention import Severity
from app.domain.session.payment_session import Status
from app.domain.units.ids import OperatorId, SessionId
from app.store.db.connection import Connection, Row
from app.store.db.statements import is_any
from app.store.tables import (
    alert_runs,
    alerts,
    deliveries,
    event_endpoints,
    monta_budgets,
    operators,
    orphans,
    payment_sessions,
    terminals,
    watchers,
)

A, R, P, W, N = alerts, alert_runs, payment_sessions, watchers, event_endpoints.c
T = terminals.c
THE_RUN = 1
"""The only row of `alert_runs`."""


async def claim_run(connection: Connection, now: datetime, until: datetime) -> bool:
    """Whether this process may send alerts until then. One process at a time does."""
    statement = insert(R).values(id=THE_RUN, lease_until=until)
    claimed = await connection.execute(
        statement.on_conflict_do_update(
            index_elements=[R.c.id], set_={"lease_until": until}, where=R.c.lease_until <= now
        ).returning(R.c.id)
    )
    return claimed.one_or_none() is not None


async def release_run(connection: Connection, now: datetime) -> None:
    """Gives the claim back, when there is nothing to send."""
    await connection.execute(update(R).values(lease_until=now))


async def last_sent_at(connection: Connection) -> datetime | None:
    """When the last message was sent."""
    found: datetime | None = (await connection.execute(select(R.c.sent_at))).scalar_one_or_none()
    return found


async def health_of_operators(connection: Connection) -> list[OperatorHealth]:
    """Every operator's account, as far as it is stored."""
    charging = and_(P.c.operator_id == operators.c.id, P.c.status == Status.CHARGING.value)
    columns = (
        operators.c.id,
        operators.c.access_problem,
        operators.c.webhook_problem,
        operators.c.sync_problem,
        operators.c.setup_problem,
        operators.c.reconcile_problem,
        select(func.max(deliveries.c.received_at))
        .where(deliveries.c.operator_id == operators.c.id)
        .scalar_subquery()
        .label("newest_delivery_at"),
        select(func.min(P.c.created_at)).where(charging).scalar_subquery().label("charging_since"),
        select(monta_budgets.c.blocked_until)
        .where(monta_budgets.c.operator_id == operators.c.id)
        .scalar_subquery()
        .label("blocked_until"),
        select(func.min(P.c.stop_due_at))
        .where(P.c.operator_id == operators.c.id, P.c.stop_due_at.is_not(None))
        .scalar_subquery()
        .label("oldest_stop_due_at"),
        select(func.count())
        .where(orphans.c.operator_id == operators.c.id, orphans.c.closed_at.is_(None), orphans.c.ours)
        .scalar_subquery()
        .label("open_orphans"),
        *_of_endpoints(),
        *_of_heartbeats(),
    )
    rows = await connection.execute(select(*columns).order_by(operators.c.id))
    return [OperatorHealth(**row) for row in rows]


def _of_endpoints() -> Iterator[Label[Any]]:
    """What is known of an operator's endpoints of terminal makers."""
    mine = N.operator_id == operators.c.id
    failing, paused = (mine, N.paused_at.is_(None), N.failing_since.is_not(None)), N.paused_at.is_not(None)
    told = func.string_agg(N.id + ": " + func.coalesce(N.problem, ""), "; ")
    yield select(func.min(N.failing_since)).where(*failing).scalar_subquery().label("endpoints_failing_since")
    yield select(told).where(*failing).scalar_subquery().label("failing_endpoints")
    yield select(func.string_agg(N.id, ", ")).where(mine, paused).scalar_subquery().label("paused_endpoints")


def _of_heartbeats() -> Iterator[Label[Any]]:
    """What is known of an operator's terminal that has sent no heartbeat for longest."""
    mine = (T.operator_id == operators.c.id, T.reported_at.is_not(None))
    yield select(func.min(T.reported_at)).where(*mine).scalar_subquery().label("oldest_heartbeat_at")
    words = select(T.name + " (" + T.id + ")").where(*mine).order_by(T.reported_at, T.id).limit(1)
    yield words.scalar_subquery().label("silent_terminal")


async def clocks_ahead(connection: Connection, since: datetime) -> dict[str, timedelta]:
    """Returns how far recently seen watchers' clocks are ahead. Of the database's clock; of watchers seen since
    then."""
    rows = await connection.execute(select(W.c.id, W.c.clock_ahead_ms).where(W.c.seen_at >= since))
    return {row.id: timedelta(milliseconds=row.clock_ahead_ms) for row in rows}


async def open_alerts(connection: Connection) -> list[tuple[int, Cause]]:
    """The alerts that are open, with their ids."""
    rows = await connection.execute(select(A).where(A.c.closed_at.is_(None)).order_by(A.c.id))
    return [(row.id, _cause(row)) for row in rows]


async def unsettled_alerts(connection: Connection) -> list[Alert]:
    """Open alerts, and closed ones whose end was in no message yet."""
    rows = await connection.execute(select(A).order_by(A.c.id))
    return [
        Alert(
            id=row.id,
            cause=_cause(row),
            opened_at=row.opened_at,
            closed_at=row.closed_at,
            sent_at=row.sent_at,
        )
        for row in rows
    ]


async def open_and_close(
    connection: Connection, opened: Sequence[Cause], closed: Sequence[int], now: datetime
) -> None:
    """Opens and closes alerts. One that closes before it was in any message is forgotten."""
    rows = [
        {
            "code": c.code,
            "severity": c.severity.value,
            "detail": c.detail,
            "operator_id": c.operator_id,
            "session_id": c.session_id,
            "about": c.about,
            "opened_at": now,
        }
        for c in opened
    ]
    if rows:
        await connection.execute(insert(A).values(rows).on_conflict_do_nothing())
    await connection.execute(update(A).where(is_any(A.c.id, closed)).values(closed_at=now))
    await connection.execute(delete(A).where(A.c.closed_at.is_not(None), A.c.sent_at.is_(None)))


async def note_sent(
    connection: Connection, said: Sequence[int], ended: Sequence[int], now: datetime, until: datetime
) -> None:
    """Notes what a message said, and gives the claim back. Forgets alerts whose end it said."""
    await connection.execute(update(A).where(is_any(A.c.id, said)).values(sent_at=now))
    await connection.execute(delete(A).where(is_any(A.c.id, ended)))
    await connection.execute(update(R).values(sent_at=now, lease_until=until))


def _cause(row: Row) -> Cause:
    return Cause(
        code=row.code,
        severity=Severity(row.severity),
        detail=row.detail,
        operator_id=None if row.operator_id is None else OperatorId(row.operator_id),
        session_id=None if row.session_id is None else SessionId(row.session_id),
        about=row.about,
    )
