"""Prints sessions as JSON, with the same fields as the operations' API."""

from collections.abc import Sequence
from dataclasses import asdict

from app.api.models.sessions import capture_out, journal_out
from app.api.views import ENCODER, ops_session_json, page_json
from app.console.views.troubles import troubles_of
from app.domain.limit.policy import Policy
from app.domain.session.payment_session import PaymentSession
from app.flows.console.session import SessionRead


def sessions_text(sessions: Sequence[PaymentSession], policy: Policy) -> str:
    """Encodes a list of sessions."""
    return page_json(ops_session_json(session, policy) for session in sessions).decode()


def session_text(read: SessionRead, policy: Policy) -> str:
    """Encodes one session with its journal, the PSP's reports, and what is wrong with it now."""
    more = {
        "journal": [journal_out(line).model_dump(mode="json") for line in read.lines],
        "captures": [capture_out(capture).model_dump(mode="json") for capture in read.captures],
        "troubles": [asdict(trouble) for trouble in troubles_of(read, policy)],
    }
    session = ops_session_json(read.session, policy).decode()
    return f'{{"session":{session},{ENCODER.encode(more).decode()[1:]}'
