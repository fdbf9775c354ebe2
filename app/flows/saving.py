"""Saves changes of sessions, with the events that they are for terminal makers. The only way to save one."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import structlog

from app.domain.events.event import session_events
from app.domain.session.machine import Change
from app.domain.session.payment_session import PaymentSession
from app.domain.units.ids import OperatorId, SessionId
from app.flows.context import Context
from app.store.db.connection import Connection
from app.store.db.statements import Params
from app.store.events import outbox
from app.store.events.outbox import Event
from app.store.sessions import payment_sessions

log = structlog.get_logger("events")


async def save(
    context: Context, connection: Connection, before: PaymentSession, change: Change, now: datetime
) -> PaymentSession:
    """Saves one locked session; see `save_all`."""
    return (await save_all(context, connection, [(before, change)], now))[0]


async def save_all(
    context: Context,
    connection: Connection,
    edits: Sequence[tuple[PaymentSession, Change]],
    now: datetime,
    *,
    claims: Mapping[SessionId, Params] | None = None,
) -> list[PaymentSession]:
    """Saves locked sessions with their journal lines, and writes their events in the same transaction.

    An event keeps what its terminal would have seen then, so that each repetition of it has the same text, and the
    versions of one session rise from event to event however late they are sent.
    """
    saved = await payment_sessions.save_all(connection, edits, now, context.sealer, claims=claims)
    news: dict[OperatorId, list[Event]] = {}
    for (before, _), session in zip(edits, saved, strict=True):
        if session_events(before, session) and await _is_told(context, connection, session.operator_id):
            news.setdefault(session.operator_id, []).extend(_events(context, before, session, now))
    for of_operator in news.values():
        await outbox.record(connection, of_operator)
    return saved


async def _is_told(context: Context, connection: Connection, operator_id: OperatorId) -> bool:
    """Whether any terminal maker is told of the operator's terminals. Read once a second at most."""
    now_s = context.clock.monotonic()
    known = context.known_endpoints.of(operator_id, now_s)
    if known is None:
        known = await outbox.has_endpoints(connection, operator_id)
        context.known_endpoints.put(operator_id, now_s, has_any=known)
    return known


def _events(
    context: Context, before: PaymentSession, session: PaymentSession, now: datetime
) -> Sequence[Event]:
    """The events of one saved session. None where it cannot be shown: a stop must not fail for that."""
    types = session_events(before, session)
    try:
        data = context.views.session(session, context.policy).decode()
    except Exception:
        log.exception("session_not_shown", session_id=session.id)
        return ()
    ids = sorted(context.ids.new("evt") for _ in types)
    return [
        Event(
            id=event_id,
            operator_id=session.operator_id,
            terminal_id=session.terminal_id,
            type=type_,
            session_id=session.id,
            version=session.version,
            created_at=now,
            data=data,
        )
        for event_id, type_ in zip(ids, types, strict=True)
    ]
