"""Opens and closes alerts, and sends a message when due. By what is wrong now."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from app.alerting.outlet import NotDelivered, Outlet
from app.domain.alerts.causes import Cause, changes, of_clocks, of_operator
from app.domain.alerts.message import Message, message_due
from app.domain.session.attention import row_of
from app.domain.session.payment_session import PaymentSession
from app.flows.context import Context
from app.store import alerts
from app.store.db.connection import Connection
from app.store.sessions import payment_sessions
from app.store.sessions.session_filter import SessionFilter

log = structlog.get_logger("alerts")

EVERY_S = 30.0
"""Interval of the check, and so the delay of what is critical at most."""
LEASE = timedelta(seconds=60)
"""How long one process may take to send."""
SEEN_WATCHERS = timedelta(minutes=1)
MAX_SESSIONS = 500
"""Sessions that need attention of which one check takes notice, the newest first."""


async def send_alerts(context: Context, outlets: Sequence[Outlet]) -> Message | None:
    """Checks once for alerts, and sends what is due. What opened and closed is committed, then sent, then noted as
    sent. Returns what was sent.

    A message that no outlet took is sent again at the next check; with several outlets, one that took it may get it
    twice, with the same id.
    """
    now = context.clock.now()
    async with context.database.transaction() as connection:
        if not await alerts.claim_run(connection, now, now + LEASE):
            return None
        opened, closed = changes(
            await alerts.open_alerts(connection), await _causes(context, connection, now)
        )
        await alerts.open_and_close(connection, opened, closed, now)
        waiting, last = await alerts.unsettled_alerts(connection), await alerts.last_sent_at(connection)
        message = message_due(waiting, now, last)
        if message is None:
            await alerts.release_run(connection, now)
            return None
    if not await _delivered(message, outlets, now):
        return None
    said = [a.id for a in (*message.opened, *message.still_open)]
    async with context.database.transaction() as connection:
        await alerts.note_sent(connection, said, [a.id for a in message.closed], now, now)
    return message


async def keep_sending(context: Context, outlets: Sequence[Outlet]) -> None:
    """Checks repeatedly until it is cancelled. A failed check is logged, and the next one follows."""
    while outlets:
        await context.clock.sleep(EVERY_S)
        try:
            await send_alerts(context, outlets)
        except Exception:
            log.exception("alerts_not_checked")


async def _causes(context: Context, connection: Connection, now: datetime) -> list[Cause]:
    """Returns everything that is wrong now. Of accounts, of sessions not acknowledged, of watchers' clocks."""
    found = [c for health in await alerts.health_of_operators(connection) for c in of_operator(health, now)]
    needing = SessionFilter(needs_attention=True)
    for session in await payment_sessions.find(connection, needing, limit=MAX_SESSIONS):
        found += _of_session(session)
    if not context.clock_is_virtual:
        found += of_clocks(await alerts.clocks_ahead(connection, now - SEEN_WATCHERS))
    return found


def _of_session(session: PaymentSession) -> list[Cause]:
    return [
        Cause(
            code=item.code,
            severity=row_of(item.code).severity,
            detail=item.detail,
            operator_id=session.operator_id,
            session_id=session.id,
            about=item.about,
        )
        for item in session.attention
        if item.acknowledged is None
    ]


async def _delivered(message: Message, outlets: Sequence[Outlet], now: datetime) -> bool:
    """Whether every outlet took the message."""
    taken = True
    for outlet in outlets:
        try:
            await outlet.send(message, now)
        except NotDelivered as error:
            taken = False
            log.error("alert_not_delivered", outlet=outlet.name, why=str(error), alerts=len(message.alerts))
        else:
            log.info("alert_delivered", outlet=outlet.name, alerts=len(message.alerts))
    return taken
