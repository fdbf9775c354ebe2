"""Models of money: holds, limits, settlements."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, PlainSerializer

from app.api.money_views import rfc3339
from app.domain.session.settlement import SettlementAction, SettlementStatus

Moment = Annotated[datetime, PlainSerializer(rfc3339, return_type=str)]


class ReceiptOut(BaseModel):
    date: str = Field(description="UTC date to look the receipt up by")
    display_reference: str
    card_last4: str | None
    url: str


class HoldShareOut(BaseModel):
    reference: str = Field(description="of the authorization")
    amount: int
    amount_to_capture: int
    amount_to_release: int
    status: SettlementStatus


class LimitsOut(BaseModel):
    own_limit: int = Field(description="the charge is stopped before its price passes this amount")
    monta_price_limit: int | None = Field(
        description="Monta stops at this amount: sent at the start, cannot be raised; null: not sent"
    )
    monta_kwh_limit: int | None = Field(description="the same as energy, in watt-hours")
    amount_usable: int = Field(description="how much of the authorization the charge can use at most")


class TaxOut(BaseModel):
    rate: float = Field(description="in percent")
    net: int
    tax: int


class SettlementOut(BaseModel):
    action: SettlementAction
    amount_to_capture: int
    amount_to_release: int
    shortfall: int = Field(description="what the charge cost beyond the authorization; never billed")
    deadline: Moment = Field(description="the hold expires then")
    status: SettlementStatus
    attempts: int = Field(description="captures that the PSP refused, as reported")
    retry_at: Moment | None = Field(
        description="when to try a refused capture again; null: nothing is refused, or no attempt is left"
    )
    energy_wh: int
    receipt: ReceiptOut
    tax: list[TaxOut] = Field(
        default=[], description="of the amount to capture; left out when the tariff has no single rate"
    )
    authorizations: list[HoldShareOut] = Field(
        default=[], description="after a top-up only: hold by hold, the first to expire first"
    )


class AuthorizationOut(BaseModel):
    reference: str
    amount: int
    expires_at: Moment | None = Field(description="as the terminal said; null: by policy")
