"""What events show: the same as the answers to their terminal."""

import msgspec
from pydantic import BaseModel, Field

from app.api.money_views import Moment, rfc3339
from app.api.views import ENCODER, ChargePointOut, PaymentSessionOut, charge_point_out, session_json
from app.domain.events.event import EventType
from app.domain.limit.policy import Policy
from app.domain.session.payment_session import PaymentSession
from app.store.events.outbox import ListedEvent
from app.store.operators.charge_points import KnownChargePoint, TariffFound


class EventOut(BaseModel):
    id: str = Field(description="the `webhook-id` of its delivery")
    type: EventType
    timestamp: Moment = Field(description="when it happened")
    data: PaymentSessionOut | ChargePointOut = Field(
        description="the session, or for `charge_point.changed` the charge point's state, name, connectors, power and "
        "price, as a GET showed it then"
    )


class Views:
    """What terminals are shown; `TerminalViews` of `app.flows.context` says what of it events need."""

    def session(self, session: PaymentSession, policy: Policy) -> bytes:
        return session_json(session, policy)

    def charge_point(self, point: KnownChargePoint, price: TariffFound | None) -> bytes:
        return charge_point_out(point, price).model_dump_json().encode()


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
