"""Request bodies: each field with its bounds. Unknown fields are errors, so that a misspelt limit is not lost."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    model_validator,
)
from pydantic_core import PydanticCustomError

from app.api.http.card_data import refuse_card_data
from app.domain.charging.availability import OUT_OF_ORDER
from app.domain.session.payment_session import Authorization, Card, PaymentAuthorized
from app.domain.session.settlement import CaptureOutcome, CaptureReport
from app.domain.tariff import InvalidTariff, Tariff, parse_tariff
from app.domain.units.ids import ChargePointId
from app.domain.units.money import is_currency
from app.flows.terminal.request_stop import ShownCard
from app.flows.terminal.top_up import MoreAuthorized, TotalAuthorized
from app.store.db.documents import is_json

MAX_AMOUNT_MINOR = 10**12
"""Upper bound for any currency; how much one session may hold depends on its currency."""
MAX_ENERGY_WH = 1_000_000

VISIBLE = r"^[\x21-\x7e]+$"
PRINTABLE = r"^[^\x00-\x1f\x7f]*$"


def _known_currency(code: str) -> str:
    if not is_currency(code):
        raise ValueError("must be a currency of ISO 4217 in capital letters, such as EUR")
    return code


def _text_of_digits(value: object) -> object:
    """Accepts a number as one of Monta's ids. They are strings here, but Monta's own pages show numbers."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _written_out(value: object) -> object:
    """Refuses numbers as times: they could be seconds or milliseconds."""
    if not isinstance(value, str) or not value[:4].isdigit() or value[4:5] != "-":
        raise ValueError("must be an RFC 3339 time such as 2026-11-24T10:00:00Z")
    return value


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a time of the years 1 to 9999 in UTC") from None


def _keepable(source: dict[str, Any]) -> dict[str, Any]:
    if not is_json(source):
        raise ValueError("must have no NaN, no Infinity, no NUL characters and no lone surrogates in it")
    return source


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_in_utc)]
Visible = Annotated[str, Field(min_length=1, max_length=64, pattern=VISIBLE)]
Reference = Annotated[str, Field(min_length=1, max_length=128, pattern=VISIBLE)]
KeyHeader = Annotated[str, Field(min_length=1, max_length=128, pattern=VISIBLE)]
Label = Annotated[str, Field(max_length=200, pattern=PRINTABLE)]
Token = Annotated[str, Field(min_length=1, max_length=200, pattern=PRINTABLE)]
MontaId = Annotated[str, BeforeValidator(_text_of_digits), Field(pattern=r"^[0-9]{1,19}$")]
Currency = Annotated[str, AfterValidator(_known_currency)]
Amount = Annotated[StrictInt, Field(gt=0, le=MAX_AMOUNT_MINOR)]


class Body(BaseModel):
    """A JSON object; no field may hold a card number, whatever its name."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _no_card_data(cls, value: Any) -> Any:
        return refuse_card_data(value, cls)


class CardIn(BaseModel):
    """The card's receipt details, and an opaque token of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    brand: Annotated[str, Field(min_length=1, max_length=32, pattern=VISIBLE)] | None = None
    last4: Annotated[str, Field(pattern=r"^[0-9]{4}$")] | None = None
    fingerprint: Token | None = None
    account_reference: Annotated[
        Token | None, Field(description="the PSP's payment account reference (PAR), matched beside it")
    ] = None


class AuthorizationIn(BaseModel):
    """The hold: `amount` in minor units of `currency`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reference: Reference
    amount: Amount
    currency: Currency
    authorized_at: Moment | None = None
    expires_at: Moment | None = None
    card: CardIn = CardIn()

    @model_validator(mode="after")
    def _expires_after_it_began(self) -> "AuthorizationIn":
        if self.expires_at and self.authorized_at and self.expires_at <= self.authorized_at:
            raise PydanticCustomError("expires_too_early", "expires_at must be later than authorized_at")
        return self


class PaymentSessionIn(Body):
    """POST /v1/payment-sessions."""

    charge_point_id: MontaId
    authorization: AuthorizationIn
    display_reference: Visible | None = None
    energy_limit_wh: Annotated[StrictInt, Field(gt=0, le=MAX_ENERGY_WH)] | None = None
    soc_limit: (
        Annotated[
            StrictInt, Field(ge=1, le=100, description="the battery's charge in percent at which Monta stops")
        ]
        | None
    ) = None
    tariff: Annotated[dict[str, Any], AfterValidator(_keepable)] | None = None
    metadata: Annotated[
        dict[Annotated[str, Field(max_length=40, pattern=PRINTABLE)], Label], Field(max_length=20)
    ] = {}

    def payment(self, idempotency_key: str | None) -> PaymentAuthorized:
        """Converts to the domain's payment. Raises FieldErrors for what only the tariff's parser finds."""
        held = self.authorization
        return PaymentAuthorized(
            charge_point_id=ChargePointId(self.charge_point_id),
            authorization=Authorization(
                reference=held.reference,
                amount_minor=held.amount,
                currency=held.currency,
                authorized_at=held.authorized_at,
                expires_at=held.expires_at,
                card=Card(
                    brand=held.card.brand,
                    last4=held.card.last4,
                    fingerprint=held.card.fingerprint,
                    account_reference=held.card.account_reference,
                ),
            ),
            display_reference=self.display_reference,
            energy_limit_wh=self.energy_limit_wh,
            soc_limit=self.soc_limit,
            tariff=_tariff(self.tariff),
            metadata=self.metadata,
            idempotency_key=idempotency_key,
        )


class FieldErrors(Exception):
    """Fields that are invalid beyond what the schema can check."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(field for field, _ in problems))
        self.errors: list[Mapping[str, str]] = [
            {"field": field, "message": message} for field, message in problems
        ]


class TopUpIn(Body):
    """POST /v1/payment-sessions/{id}/authorizations: one more hold, or a new total of one that exists. In the
    session's currency."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": [name], "properties": {name: {"type": "integer"}}}
                for name in ("amount", "amount_total")
            ]
        }
    )

    reference: Reference
    amount: Annotated[Amount | None, Field(description="of a new hold")] = None
    amount_total: Annotated[
        Amount | None,
        Field(description="of the hold with this reference, since the PSP raised or lowered it"),
    ] = None
    expires_at: Moment | None = None

    def more(self) -> MoreAuthorized | TotalAuthorized:
        """Converts to a new hold, or to a new total of one. Raises FieldErrors when it is neither, or both."""
        if self.amount is not None and self.amount_total is None:
            return MoreAuthorized(
                reference=self.reference, amount_minor=self.amount, expires_at=self.expires_at
            )
        if self.amount is None and self.amount_total is not None:
            return TotalAuthorized(
                reference=self.reference, amount_minor=self.amount_total, expires_at=self.expires_at
            )
        raise FieldErrors(
            [("amount", "send this for a new hold, or amount_total for one that exists; not both")]
        )


class CaptureIn(Body):
    """POST /v1/payment-sessions/{id}/captures: what the PSP captured or released."""

    outcome: CaptureOutcome
    amount: Annotated[StrictInt, Field(ge=0, le=MAX_AMOUNT_MINOR)]
    reference: Reference
    authorization_reference: Reference | None = None
    retryable: Annotated[
        StrictBool,
        Field(description="of `failed`: false when the PSP refused for good; the capture is not tried again"),
    ] = True

    def report(self) -> CaptureReport:
        return CaptureReport(
            outcome=self.outcome,
            amount_minor=self.amount,
            reference=self.reference,
            authorization_reference=self.authorization_reference,
            retryable=self.retryable,
        )


class StopRequestIn(Body):
    """POST /v1/stop-requests: the same card presented again, by one of its tokens or both."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": [name], "properties": {name: {"type": "string"}}}
                for name in ("card_fingerprint", "card_account_reference")
            ]
        }
    )

    card_fingerprint: Token | None = None
    card_account_reference: Token | None = None
    charge_point_id: MontaId | None = None

    def card(self) -> ShownCard:
        """Converts to the domain's card. Raises FieldErrors when no field identifies the card."""
        if self.card_fingerprint is None and self.card_account_reference is None:
            raise FieldErrors([("card_fingerprint", "send this or card_account_reference, or both")])
        point = self.charge_point_id
        return ShownCard(
            fingerprint=self.card_fingerprint,
            account_reference=self.card_account_reference,
            charge_point_id=ChargePointId(point) if point else None,
        )


class TerminalState(StrEnum):
    ONLINE = "online"
    OUT_OF_ORDER = OUT_OF_ORDER


class TerminalStatusIn(Body):
    """PUT /v1/terminal/status: a terminal's heartbeat."""

    state: TerminalState
    message: Annotated[Label | None, Field(description="for operations; it should name nobody")] = None


class OpsStopIn(Body):
    """POST /v1/ops/payment-sessions/{id}/stop."""

    reason: Annotated[str, Field(min_length=1, max_length=200, pattern=PRINTABLE)]


class AcknowledgeIn(Body):
    """POST /v1/ops/payment-sessions/{id}/attention/{code}/acknowledge."""

    note: Annotated[str, Field(min_length=1, max_length=200, pattern=PRINTABLE)]


class OpsSettleIn(Body):
    """POST /v1/ops/payment-sessions/{id}/settle: what the driver pays, decided by operations."""

    amount: Annotated[StrictInt, Field(ge=0, le=MAX_AMOUNT_MINOR)]
    reason: Annotated[str, Field(min_length=1, max_length=200, pattern=PRINTABLE)]


class OpsCloseIn(Body):
    """POST /v1/ops/payment-sessions/{id}/close: what the driver pays, 0 for nothing."""

    amount: Annotated[StrictInt, Field(ge=0, le=MAX_AMOUNT_MINOR)]
    reason: Annotated[str, Field(min_length=1, max_length=200, pattern=PRINTABLE)]


def _tariff(source: dict[str, Any] | None) -> Tariff | None:
    if source is None:
        return None
    try:
        return parse_tariff(source)
    except InvalidTariff as error:
        raise FieldErrors([(f"tariff.{p.field}".rstrip("."), p.message) for p in error.problems]) from error
