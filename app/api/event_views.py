"""What events show: the same as the answers to their terminal."""

import msgspec

from app.api.money_views import rfc3339
from app.api.views import ENCODER, charge_point_fields, session_json
from app.domain.limit.policy import Policy
from app.domain.session.payment_session import PaymentSession
from app.store.events.outbox import ListedEvent
from app.store.operators.charge_points import KnownChargePoint, TariffFound


class Views:
    """What terminals are shown; `TerminalViews` of `app.flows.context` says what of it events need."""

    def session(self, session: PaymentSession, policy: Policy) -> bytes:
        return session_json(session, policy)

    def charge_point(self, point: KnownChargePoint, price: TariffFound | None) -> bytes:
        return ENCODER.encode(charge_point_fields(point, price))


def event_json(event: ListedEvent) -> bytes:
    """Encodes an EventOut."""
    return ENCODER.encode(
        {
            "id": event.id,
            "type": event.type,
            "timestamp": rfc3339(event.created_at),
            "data": msgspec.Raw(event.data.encode()),
        }
    )
