"""What events show of sessions: the same as the answers to their terminal."""

from app.api.views import session_json
from app.domain.limit.policy import Policy
from app.domain.session.payment_session import PaymentSession


class Views:
    """What terminals are shown; `TerminalViews` of `app.flows.context` says what of it events need."""

    def session(self, session: PaymentSession, policy: Policy) -> bytes:
        return session_json(session, policy)
