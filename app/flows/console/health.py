"""Reads what shows the service's health. Webhooks, stops that are not confirmed, watchers."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from app.domain.alerts.causes import Cause, identity, of_operator
from app.domain.alerts.message import Alert
from app.domain.session.attention import Severity
from app.domain.session.payment_session import PaymentSession, Status
from app.domain.units.frozen import frozen
from app.domain.units.ids import OperatorId
from app.flows.context import Context
from app.store import alerts, health
from app.store.db.connection import Connection
from app.store.health import SeenWatcher
from app.store.operators import orphans
from app.store.operators.orphans import Orphan
from app.store.sessions import deliveries, payment_sessions
from app.store.sessions.running import DueWork, overdue_work
from app.store.sessions.session_filter import SessionFilter

UNCONFIRMED_AFTER = timedelta(seconds=60)
OVERDUE_AFTER = timedelta(seconds=30)
MOST_STOPS = 100
MOST_LISTED = 50
MOST_WATCHERS = 50
MOST_ALERTS = 100


@frozen(kw_only=True)
class Pulse:
    """`last_webhook_at`: an operator without one is missing."""

    now: datetime
    last_webhook_at: Mapping[OperatorId, datetime]
    unconfirmed: list[PaymentSession]
    """Stops that were decided more than UNCONFIRMED_AFTER ago and are not confirmed, the oldest first."""
    watchers: list[SeenWatcher]
    alerts: list[Alert]
    """Open alerts, MOST_ALERTS at most, critical ones first; those of the installation for keys that see all."""
    unnoticed: list[Cause]
    """What is wrong with an account as of now, and has no open alert yet: a watcher opens it within half a minute."""
    overdue: list[DueWork]
    """Work due for more than OVERDUE_AFTER, the oldest first."""
    orphans: list[Orphan]
    """Open ones, the newest first."""


async def pulse(context: Context, operator_id: OperatorId | None) -> Pulse:
    """Looks at one operator, or (None) at all."""
    now = context.clock.now()
    stopping = SessionFilter(operator_id=operator_id, status=Status.STOPPING, active=True)
    async with context.database.read() as connection:
        found = await payment_sessions.find(connection, stopping, limit=MOST_STOPS)
        late = [s for s in found if s.stop is not None and s.stop.decided_at <= now - UNCONFIRMED_AFTER]
        heard = await deliveries.last_received(connection)
        open_now = _open(await alerts.unsettled_alerts(connection), operator_id)
        return Pulse(
            now=now,
            last_webhook_at={o: at for o, at in heard.items() if operator_id in (None, o)},
            unconfirmed=sorted(late, key=lambda s: (s.stop.decided_at if s.stop else now, s.id)),
            watchers=await health.listed_watchers(connection, limit=MOST_WATCHERS),
            alerts=open_now,
            unnoticed=await _unnoticed(connection, operator_id, open_now, now),
            overdue=await overdue_work(connection, operator_id, now - OVERDUE_AFTER, limit=MOST_LISTED),
            orphans=await orphans.listed(connection, operator_id, closed=False, limit=MOST_LISTED),
        )


async def _unnoticed(
    connection: Connection, operator_id: OperatorId | None, known: Sequence[Alert], now: datetime
) -> list[Cause]:
    noticed = {identity(alert.cause) for alert in known}
    accounts = [
        each for each in await alerts.health_of_operators(connection) if operator_id in (None, each.id)
    ]
    return [cause for each in accounts for cause in of_operator(each, now) if identity(cause) not in noticed]


def _open(found: Sequence[Alert], operator_id: OperatorId | None) -> list[Alert]:
    shown = [
        alert for alert in found if alert.closed_at is None and operator_id in (None, alert.cause.operator_id)
    ]
    order = list(Severity)
    shown.sort(key=lambda alert: (order.index(alert.cause.severity), alert.opened_at, alert.id))
    return shown[:MOST_ALERTS]
