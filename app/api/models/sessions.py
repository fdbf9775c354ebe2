"""Models of payment sessions, their captures and journals."""

from typing import Generic, TypeVar

from pydantic import BaseModel, Field

from app.api.display_texts import TEXTS
from app.api.models.attention import AttentionOut
from app.api.models.money import AuthorizationOut, LimitsOut, Moment, SettlementOut
from app.domain.session.payment_session import NotStartedReason, Status, StopReason
from app.domain.session.settlement import SettlementBasis
from app.store.sessions.journal import JournalEntry
from app.store.sessions.settlements import Capture

T = TypeVar("T")


class DisplayOut(BaseModel):
    key: str = Field(description="stable; for a terminal with texts of its own")
    text: str = Field(description="by Accept-Language: " + ", ".join(TEXTS) + "; else en")
    speech: str = Field(description="the same to be spoken")


class Page(BaseModel, Generic[T]):
    """Every list: `next_cursor` is null on the last page."""

    data: list[T]
    next_cursor: str | None = None


class ChargeOut(BaseModel):
    id: str = Field(description="Monta's charge id")
    state: str = Field(description="Monta's charge state")
    seen_at: Moment = Field(description="when Monta's record was last known to look like this")


class PaymentSessionOut(BaseModel):
    id: str
    version: int
    status: Status
    charge_point_id: str
    terminal_id: str
    display_reference: str
    authorization_reference: str
    currency: str
    amount_authorized: int
    amount_used: int
    amount_remaining: int
    energy_wh: int
    energy_limit_wh: int | None
    charge: ChargeOut | None
    start_deadline: Moment
    stop_reason: StopReason | None
    not_started_reason: NotStartedReason | None
    settlement: SettlementOut | None
    needs_attention: bool
    display: DisplayOut
    soc_limit: int | None = Field(description="the battery's charge in percent at which Monta stops")
    power_w: int | None = Field(
        description="average power between the last two readings; null: not known, or no charge runs"
    )
    state_of_charge: int | None = Field(
        description="of the battery in percent, as reported last; null: car or charge point does not say"
    )
    started_at: Moment | None = Field(description="when the charge began; null: there is none")
    expected_end: Moment | None = Field(
        description="when the authorization is used up at the present rate; null: unknown"
    )
    created_at: Moment
    updated_at: Moment


class TerminalStatusOut(BaseModel):
    state: str
    message: str | None
    seen_at: Moment
    offline_after: Moment = Field(description="it counts as offline then, unless it calls again")


class ToppedUpOut(PaymentSessionOut):
    """The session after a top-up, and how far each limit lets it go."""

    limits: LimitsOut


class CaptureOut(BaseModel):
    outcome: str
    amount: int
    reference: str
    authorization_reference: str | None = None
    retryable: bool = Field(description="of `failed`: whether another attempt may succeed")
    reported_at: Moment


class OpsSessionOut(PaymentSessionOut):
    """A payment session with the fields for operations."""

    operator_id: str
    card_brand: str | None
    card_last4: str | None
    attention: list[AttentionOut] = Field(
        description="why the session needs a look, oldest first; each item closes by itself when its cause is gone"
    )
    amount_used_error: int = Field(description="the bill may be lower than `amount_used` by at most this")
    limits: LimitsOut
    authorizations: list[AuthorizationOut] = Field(description="every hold, the first one first")
    tariff_source: str | None = Field(
        description="payment, charge_point, operator, monta_price_group or null: none"
    )
    tariff_gaps: list[str] = Field(description="parts of Monta's price group that the tariff leaves out")
    learned_kwh_price: str | None = Field(description="without a tariff: the price of a kWh, estimated")
    settlement_basis: SettlementBasis | None = Field(description="what the amount is based on")
    stop_attempts: int
    duplicate_charges: list[ChargeOut]
    monta_price: str | None = Field(description="Monta's price as reported last, in major units")
    metadata: dict[str, str]


class JournalOut(BaseModel):
    at: Moment
    kind: str
    source: str
    detail: dict[str, str | int | bool | None]


def capture_out(capture: Capture) -> CaptureOut:
    return CaptureOut(
        outcome=capture.outcome,
        amount=capture.amount_minor,
        reference=capture.reference,
        authorization_reference=capture.authorization_reference,
        retryable=capture.retryable,
        reported_at=capture.reported_at,
    )


def journal_out(entry: JournalEntry) -> JournalOut:
    return JournalOut(at=entry.at, kind=entry.kind, source=entry.source, detail=entry.detail)
