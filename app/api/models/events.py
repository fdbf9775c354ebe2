"""The model of an event."""

from pydantic import BaseModel, Field

from app.api.models.charge_points import ChargePointOut
from app.api.models.money import Moment
from app.api.models.sessions import PaymentSessionOut
from app.domain.events.event import EventType


class EventOut(BaseModel):
    id: str = Field(description="the `webhook-id` of its delivery")
    type: EventType
    timestamp: Moment = Field(description="when it happened")
    data: PaymentSessionOut | ChargePointOut = Field(
        description="the session, or for `charge_point.changed` the charge point's state, name, connectors, power and "
        "price, as a GET showed it then"
    )
