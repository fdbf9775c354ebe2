"""Erases a session's card, and exports what is kept of one."""

from app.domain.evidence.erasure import why_needed
from app.domain.evidence.json_values import Json
from app.domain.session.machine import Caller, Change, Source
from app.domain.session.payment_session import PaymentSession
from app.domain.units.ids import OperatorId, SessionId
from app.flows.context import Context, locked_session
from app.flows.erasure import erase
from app.flows.evidence import evidence_of
from app.store.db.database import retry_on_serialization_failure
from app.store.sessions import personal_data
from app.store.sessions.session_filter import SessionFilter

MOST_SESSIONS = 10_000
"""Of one card in one export."""


class StillNeeded(Exception):
    """The session's card cannot be erased yet; nothing was changed."""


@retry_on_serialization_failure
async def erase_card(
    context: Context, session_id: SessionId, owner: SessionFilter, *, by: Caller
) -> PaymentSession:
    """Erases a session's card and metadata; the money's record stays. Idempotent.

    Raises SessionUnknown, StillNeeded.
    """
    async with context.database.transaction() as connection:
        before = await locked_session(connection, session_id, owner)
        why = why_needed(before)
        if why is not None:
            raise StillNeeded(why)
        return await erase(context, connection, before, Change(before, by=by), Source.OPERATIONS)


async def export_card(context: Context, token: str, operator_id: OperatorId | None) -> Json:
    """Exports what is kept of a card. By its fingerprint or account reference: each session with its journal and
    settlement.

    Without Monta's deliveries, which name other drivers' charges, too.
    """
    async with context.database.read() as connection:
        found = await personal_data.of_card(connection, token, operator_id=operator_id, limit=MOST_SESSIONS)
    visible = SessionFilter(operator_id=operator_id)
    bundles = [await evidence_of(context, each, visible, with_deliveries=False) for each in found]
    sessions = [{name: value for name, value in each.items() if name != "deliveries"} for each in bundles]
    return {"made_at": context.clock.now().isoformat(), "sessions": sessions}
