"""Prints sessions as JSON, with the same fields as the operations' API."""

from collections.abc import Sequence

from app.api.views import ENCODER, capture_out, journal_out, ops_session_json, page_json
from app.domain.limit.policy import Policy
from app.domain.session.payment_session import PaymentSession
from app.store.sessions.journal import JournalEntry
from app.store.sessions.settlements import Capture


def sessions_text(sessions: Sequence[PaymentSession], policy: Policy) -> str:
    """Encodes a list of sessions."""
    return page_json(ops_session_json(session, policy) for session in sessions).decode()


def session_text(
    session: PaymentSession, lines: Sequence[JournalEntry], captures: Sequence[Capture], policy: Policy
) -> str:
    """Encodes one session with its journal and the PSP's reports."""
    more = {
        "journal": [journal_out(line).model_dump(mode="json") for line in lines],
        "captures": [capture_out(capture).model_dump(mode="json") for capture in captures],
    }
    return f'{{"session":{ops_session_json(session, policy).decode()},{ENCODER.encode(more).decode()[1:]}'
