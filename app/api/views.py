"""Response bodies: sessions, charge points and journals.

Sessions are encoded without their models, which describe them in OpenAPI: a test compares the two.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Generic, TypeVar

import msgspec
from pydantic import BaseModel, Field

from app.api.attention_views import AttentionOut, attention_fields
from app.api.display import DEFAULT, DisplayOut, session_display
from app.api.money_views import (
    AuthorizationOut,
    LimitsOut,
    Moment,
    SettlementOut,
    authorizations_fields,
    limits_fields,
    price_out,
    rfc3339,
    settlement_fields,
)
from app.domain.charging.charge import Charge
from app.domain.limit.policy import Policy
from app.domain.session.limit import (
    amount_used,
    amount_used_minor,
    energy_limit_wh,
    expected_end,
    recent_power_w,
)
from app.domain.session.payment_session import NotStartedReason, PaymentSession, Status, StopReason
from app.domain.session.plausibility import started_at
from app.domain.session.settlement import SettlementBasis
from app.domain.tariff.shown_price import UnitPrices
from app.flows.admin.queries import PricedChargePoint
from app.store.operators.charge_points import KnownChargePoint, TariffFound
from app.store.sessions.journal import JournalEntry
from app.store.sessions.settlements import Capture

T = TypeVar("T")


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


class ConnectorOut(BaseModel):
    name: str


class ChargePointOut(BaseModel):
    id: str
    name: str | None
    state: str | None = Field(description="Monta's charge point state; null until Monta was asked")
    connectors: list[ConnectorOut]
    max_power_w: int | None
    price: dict[str, object] | None = Field(description="the OCPI tariff to show, when one is set")


class UnitPricesOut(BaseModel):
    """Prices with taxes, in minor units of `currency`; they may have decimals."""

    currency: str
    per_session: float
    per_kwh: float
    per_minute: float = Field(description="of charging")
    per_idle_minute: float = Field(description="connected without charging")


class ListedChargePointOut(ChargePointOut):
    """A charge point with what a terminal shows before the tap."""

    price_now: UnitPricesOut | None = Field(description="what a charge that begins now pays at first")
    price_max: UnitPricesOut | None = Field(
        description="the highest of each price, at whatever time, energy or power"
    )
    price_valid_until: Moment | None = Field(
        description="when `price_now` changes by the clock, or the tariff ends; null: not within 8 days"
    )
    suggested_amount: int | None = Field(
        description="a hold that pays for a usual charge here at the highest prices, in minor units"
    )
    occupied_by_us: bool = Field(description="a payment session has it: another payment would be refused")
    cable_plugged_in: bool | None = Field(description="a hint; null: Monta does not say")
    state_seen_at: Moment | None = Field(description="when Monta last reported the charge point")


ENCODER = msgspec.json.Encoder()
"""Writes what a terminal or operations get of a session; the models above describe it."""


def session_fields(
    session: PaymentSession, policy: Policy, used_minor: int, language: str = DEFAULT
) -> dict[str, object]:
    """Returns the fields of PaymentSessionOut; `used_minor` is the session's amount used."""
    held, authorized_minor = session.authorization, session.authorized_minor
    settled, charge, end = session.settlement, session.charge, expected_end(session, policy)
    return {
        "id": session.id,
        "version": session.version,
        "status": session.status,
        "charge_point_id": session.charge_point_id,
        "terminal_id": session.terminal_id,
        "display_reference": session.display_reference,
        "authorization_reference": held.reference,
        "currency": held.currency,
        "amount_authorized": authorized_minor,
        "amount_used": used_minor,
        "amount_remaining": authorized_minor - used_minor,
        "energy_wh": settled.energy_wh if settled else session.energy_wh,
        "energy_limit_wh": energy_limit_wh(session),
        "charge": _charge(charge) if charge else None,
        "start_deadline": rfc3339(session.start.deadline),
        "stop_reason": session.stop_reason,
        "not_started_reason": session.not_started_reason,
        "settlement": settlement_fields(session, settled) if settled else None,
        "needs_attention": session.needs_attention,
        "display": session_display(session, used_minor, language),
        "soc_limit": session.soc_limit,
        "power_w": recent_power_w(session),
        "state_of_charge": charge.latest.soc_percent if charge else None,
        "started_at": rfc3339(started_at(session, charge.latest, policy)) if charge else None,
        "expected_end": None if end is None else rfc3339(end),
        "created_at": rfc3339(session.created_at),
        "updated_at": rfc3339(session.updated_at),
    }


def session_json(session: PaymentSession, policy: Policy, language: str = DEFAULT) -> bytes:
    """Encodes a PaymentSessionOut."""
    return ENCODER.encode(session_fields(session, policy, amount_used_minor(session, policy), language))


def ops_session_json(session: PaymentSession, policy: Policy) -> bytes:
    """Encodes an OpsSessionOut."""
    latest = session.charge.latest if session.charge else None
    price: Decimal | None = None if latest is None else latest.price or latest.claimed_price or latest.price
    used = amount_used(session, policy)
    more: dict[str, object] = {
        "operator_id": session.operator_id,
        "card_brand": session.authorization.card.brand,
        "card_last4": session.authorization.card.last4,
        "attention": attention_fields(session),
        "amount_used_error": used.error_minor,
        "limits": limits_fields(session),
        "authorizations": authorizations_fields(session),
        "tariff_source": session.tariff_source,
        "tariff_gaps": session.tariff_gaps,
        "learned_kwh_price": None if session.learned_kwh_price is None else str(session.learned_kwh_price),
        "settlement_basis": session.settlement.basis if session.settlement else None,
        "stop_attempts": session.stop.attempts if session.stop else 0,
        "duplicate_charges": [
            {"id": e.id, "state": e.state, "seen_at": rfc3339(e.seen_at)} for e in session.duplicates
        ],
        "monta_price": None if price is None else str(price),
        "metadata": session.metadata,
    }
    return ENCODER.encode(session_fields(session, policy, used.amount_minor) | more)


def topped_up_json(session: PaymentSession, policy: Policy, language: str = DEFAULT) -> bytes:
    """Encodes a ToppedUpOut."""
    fields = session_fields(session, policy, amount_used_minor(session, policy), language)
    return ENCODER.encode(fields | {"limits": limits_fields(session)})


def page_json(items: Iterable[bytes], next_cursor: str | None = None) -> bytes:
    """Encodes a Page of encoded items."""
    return b'{"data":[%b],"next_cursor":%b}' % (b",".join(items), ENCODER.encode(next_cursor))


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


def charge_point_out(point: KnownChargePoint, price: TariffFound | None) -> ChargePointOut:
    seen = point.seen
    return ChargePointOut(
        id=point.id,
        name=seen.name if seen else None,
        state=seen.state if seen else None,
        connectors=[ConnectorOut(name=name) for name in seen.connectors] if seen else [],
        max_power_w=seen.max_power_w if seen else None,
        price=price_out(price.tariff, price.as_of) if price else None,
    )


def listed_charge_point_out(of: PricedChargePoint) -> ListedChargePointOut:
    seen, prices = of.point.seen, of.prices
    return ListedChargePointOut(
        **dict(charge_point_out(of.point, of.price)),
        price_now=unit_prices_out(prices.currency, prices.now) if prices else None,
        price_max=unit_prices_out(prices.currency, prices.most) if prices else None,
        price_valid_until=prices.valid_until if prices else None,
        suggested_amount=of.suggested_minor,
        occupied_by_us=of.is_occupied,
        cable_plugged_in=seen.cable_plugged_in if seen else None,
        state_seen_at=seen.seen_at if seen else None,
    )


def unit_prices_out(currency: str, prices: UnitPrices) -> UnitPricesOut:
    return UnitPricesOut(
        currency=currency,
        per_session=float(prices.per_session),
        per_kwh=float(prices.per_kwh),
        per_minute=float(prices.per_minute),
        per_idle_minute=float(prices.per_idle_minute),
    )


def _charge(charge: Charge) -> dict[str, object]:
    return {"id": charge.id, "state": charge.state, "seen_at": rfc3339(charge.seen_at)}
