"""Records that operations have seen an attention item."""

from app.domain.session.attention import Acknowledgement
from app.domain.session.machine import Caller, Change
from app.domain.session.payment_session import PaymentSession
from app.domain.units.ids import SessionId
from app.flows.context import Context, locked_session
from app.flows.saving import save
from app.store.db.database import retry_on_serialization_failure
from app.store.sessions.session_filter import SessionFilter


class AttentionUnknown(Exception):
    """The session has no open attention of this code."""


@retry_on_serialization_failure
async def acknowledge(
    context: Context, session_id: SessionId, owner: SessionFilter, *, code: str, by: Caller, note: str
) -> PaymentSession:
    """Acknowledges attention of one code, with who and when; repeatable.

    Raises SessionUnknown, AttentionUnknown.
    """
    now = context.clock.now()
    async with context.database.transaction() as connection:
        before = await locked_session(connection, session_id, owner)
        if all(item.code != code for item in before.attention):
            raise AttentionUnknown
        change = Change(before, by=by).acknowledge(code, Acknowledgement(at=now, by=by.id, note=note))
        return await save(context, connection, before, change, now)
