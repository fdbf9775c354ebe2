"""What goes out about money: holds, guards of the limit, settlements."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, Field, PlainSerializer, SerializerFunctionWrapHandler, model_serializer

from app.domain.guards_shown import guards_shown
from app.domain.payment_session import PaymentSession
from app.domain.settlement import Settlement, SettlementAction, SettlementStatus

RECEIPT_URL = "https://receipt.monta.com"


def rfc3339(moment: datetime) -> str:
    """UTC with milliseconds and Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


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


class GuardsOut(BaseModel):
    own_limit: int = Field(description="the charge is stopped before its price passes this amount")
    monta_price_limit: int | None = Field(
        description="Monta stops at this amount: told at the start, cannot be raised; null: not told"
    )
    monta_kwh_limit: int | None = Field(description="the same as energy, in watt-hours")
    amount_usable: int = Field(description="how much of the reservation the charge can come to use")


class SettlementOut(BaseModel):
    action: SettlementAction
    amount_to_capture: int
    amount_to_release: int
    shortfall: int = Field(description="what the charge cost beyond the reservation; never billed")
    deadline: Moment = Field(description="the hold is no longer good after this")
    status: SettlementStatus
    energy_wh: int
    receipt: ReceiptOut
    authorizations: list[HoldShareOut] = Field(
        default=[], description="after a top-up only: hold by hold, the first to expire first"
    )

    @model_serializer(mode="wrap")
    def _without_a_list_of_one(self, plain: SerializerFunctionWrapHandler) -> dict[str, object]:
        """A single hold is what the other fields say already."""
        shown: dict[str, object] = plain(self)
        if len(self.authorizations) <= 1:
            shown.pop("authorizations", None)
        return shown


class AuthorizationOut(BaseModel):
    reference: str
    amount: int
    expires_at: Moment | None = Field(description="as the terminal said; null: by policy")


def settlement_out(session: PaymentSession, settled: Settlement) -> SettlementOut:
    return SettlementOut(
        action=settled.action,
        amount_to_capture=settled.to_capture_minor,
        amount_to_release=settled.to_release_minor,
        shortfall=settled.shortfall_minor,
        deadline=settled.deadline,
        status=settled.status,
        energy_wh=settled.energy_wh,
        receipt=ReceiptOut(
            date=settled.session_date.astimezone(UTC).date().isoformat(),
            display_reference=session.display_reference,
            card_last4=session.authorization.card.last4,
            url=RECEIPT_URL,
        ),
        authorizations=[
            HoldShareOut(
                reference=share.reference,
                amount=share.amount_minor,
                amount_to_capture=share.to_capture_minor,
                amount_to_release=share.to_release_minor,
                status=share.status,
            )
            for share in settled.shares
        ],
    )


def guards_out(session: PaymentSession) -> GuardsOut:
    shown = guards_shown(session)
    return GuardsOut(
        own_limit=shown.own_limit_minor,
        monta_price_limit=shown.monta_price_limit_minor,
        monta_kwh_limit=shown.monta_kwh_limit_wh,
        amount_usable=shown.usable_minor,
    )


def authorizations_out(session: PaymentSession) -> list[AuthorizationOut]:
    first = session.authorization
    return [
        AuthorizationOut(reference=first.reference, amount=first.amount_minor, expires_at=first.expires_at),
        *(
            AuthorizationOut(reference=t.reference, amount=t.amount_minor, expires_at=t.expires_at)
            for t in session.top_ups
        ),
    ]
