"""pydantic models of the usual way's requests and answers."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Payload(BaseModel):
    id: int
    state: str
    updated_at: datetime = Field(alias="updatedAt")
    consumed_kwh: Decimal | None = Field(default=None, alias="consumedKwh")
    price: Decimal | None = None
    partner_external_id: str | None = Field(default=None, alias="partnerExternalId")


class Entry(BaseModel):
    entity_type: str = Field(alias="entityType")
    entity_id: str | None = Field(default=None, alias="entityId")
    event_type: str | None = Field(default=None, alias="eventType")
    payload: Payload


class Delivery(BaseModel):
    entries: list[Entry]


class Card(BaseModel):
    brand: str | None = None
    last4: str | None = None
    fingerprint: str | None = None


class Authorization(BaseModel):
    reference: str
    amount: int = Field(gt=0)
    currency: str = Field(min_length=3, max_length=3)
    card: Card = Card()


class PaymentSessionIn(BaseModel):
    charge_point_id: str
    authorization: Authorization
    metadata: dict[str, Any] = {}


class PaymentSessionOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: str
    operator_id: str
    terminal_id: str
    charge_point_id: str
    reference: str
    display_reference: str
    card_brand: str | None
    card_last4: str | None
    amount_authorized: int
    amount_used: int
    currency: str
    status: str
    charge_id: str | None
    charge_state: str | None
    energy_wh: int
    amount_to_capture: int | None
    stop_reason: str | None
    version: int
    created_at: datetime
    updated_at: datetime


class Page(BaseModel):
    data: list[PaymentSessionOut]
