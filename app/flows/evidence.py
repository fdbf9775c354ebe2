"""Collects the evidence of one payment session."""

from collections.abc import Sequence
from datetime import timedelta

from app.domain.evidence.bundle import bundle_of
from app.domain.evidence.chain import Line, Linked
from app.domain.evidence.json_values import Json
from app.domain.session.payment_session import PaymentSession
from app.domain.session.states.journal import JournalKind
from app.domain.units.ids import ChargeId, SessionId
from app.flows.context import Context, SessionUnknown
from app.store.db.connection import Connection
from app.store.sessions import deliveries, journal, payment_sessions
from app.store.sessions.deliveries import KeptDelivery
from app.store.sessions.journal import JournalEntry
from app.store.sessions.session_filter import SessionFilter
from app.store.sessions.settlements import captures_of_session

MOST_LINES = 50_000
"""Lines of a journal in one bundle. Of a longer one the verification says that lines are missing."""
MOST_DELIVERIES = 1_000
AFTERWARDS = timedelta(days=1)
"""Deliveries that came up to this long after the session's last change count as its own."""


async def evidence_of(
    context: Context, session_id: SessionId, owner: SessionFilter, *, with_deliveries: bool = True
) -> Json:
    """The bundle of a session: request, tariff, journal, settlement, captures, deliveries. Raises SessionUnknown.

    What is written meanwhile is left out: the session is read first, and says how many lines it had.
    """
    async with context.database.read() as connection:
        await context.operators.check_key(connection)  # which signs: another one since the last rotation
        session = await payment_sessions.get(connection, session_id, owner)
        if session is None:
            raise SessionUnknown
        entries = await journal.of_session(connection, session_id, limit=MOST_LINES)
        captures = await captures_of_session(connection, session_id)
        charge = session.charge if with_deliveries else None
        kept = [] if charge is None else await _deliveries(connection, session, charge.id)
    entries = entries[: session.journal.lines]
    reported = sum(entry.kind == JournalKind.CAPTURE_REPORTED for entry in entries)
    return bundle_of(
        session,
        linked_lines(session, entries),
        [capture.report() for capture in captures[:reported]],
        [_delivery(each) for each in kept],
        made_at=context.clock.now(),
        sealer=context.sealer,
    )


async def _deliveries(
    connection: Connection, session: PaymentSession, charge_id: ChargeId
) -> list[KeptDelivery]:
    return await deliveries.of_charge(
        connection,
        session.operator_id,
        charge_id,
        since=session.created_at,
        until=session.updated_at + AFTERWARDS,
        limit=MOST_DELIVERIES,
    )


def _delivery(kept: KeptDelivery) -> Json:
    """`signature` is Monta's X-Monta-Signature of `body`, which may name other charges, too."""
    return {
        "received_at": None if kept.received_at is None else kept.received_at.isoformat(),
        "signature": kept.signature,
        "body": kept.sent_body().decode(),
    }


def linked_lines(session: PaymentSession, entries: Sequence[JournalEntry], first: int = 1) -> list[Linked]:
    """Numbers stored lines as their hashes cover them. `first`: the number of the first one."""
    return [
        Linked(
            Line(
                session_id=session.id,
                number=number,
                at=entry.at,
                kind=entry.kind,
                source=entry.source,
                detail=entry.detail,
            ),
            entry.hash.hex(),
        )
        for number, entry in enumerate(entries, start=first)
    ]
