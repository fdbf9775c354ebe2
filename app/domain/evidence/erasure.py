"""Erases a session's personal data. The money's record stays."""

from datetime import datetime

from app.domain.session.machine import Change, Source
from app.domain.session.payment_session import Card, PaymentSession
from app.domain.session.settlement import SettlementStatus
from app.domain.session.states.journal import JournalKind
from app.domain.units.frozen import replace


def is_personal(session: PaymentSession) -> bool:
    """Whether anything of the card or of the terminal's metadata is kept."""
    return session.authorization.card != Card() or bool(session.metadata)


def why_needed(session: PaymentSession) -> str | None:
    """Why the card cannot be erased yet; None: it can."""
    if not session.ended:
        return "the session has not ended: its card may have to stop it"
    settlement = session.settlement
    if settlement is not None and settlement.status is SettlementStatus.DUE:
        return "its capture or release is not reported yet: the card may be needed to settle it"
    return None


def erased(change: Change, source: Source, now: datetime) -> Change:
    """Erases card and metadata. Erasing again changes nothing."""
    session = change.session
    if not is_personal(session):
        return change
    bare = replace(session, authorization=replace(session.authorization, card=Card()), metadata={})
    return change.to(replace(bare, updated_at=now)).note(JournalKind.PERSON_ERASED, source)
