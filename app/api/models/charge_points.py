"""Models of charge points."""

from pydantic import BaseModel, Field

from app.api.models.money import Moment
from app.api.views import charge_point_fields
from app.domain.tariff.shown_price import UnitPrices
from app.flows.admin.queries import PricedChargePoint


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


def listed_charge_point_out(of: PricedChargePoint) -> ListedChargePointOut:
    seen, prices = of.point.seen, of.prices
    return ListedChargePointOut(
        **charge_point_fields(of.point, of.price),
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
