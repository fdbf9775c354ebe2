"""Reads a running charge's usual webhook entry quickly. In a fraction of the time; all others are left."""

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Annotated

import msgspec

from app.domain.charging.charge import PriceUnit
from app.domain.session.states.kept_readings import Told
from app.domain.units.ids import ChargeId
from app.monta.fields import MAX_ID
from app.monta.objects import MAX_KWH, MAX_PRICE
from app.monta.sameness import said

Date = Annotated[datetime, msgspec.Meta(tz=True)]
Id = Annotated[int, msgspec.Meta(ge=1, le=MAX_ID)]
CHARGING = "charging"


class _Currency(msgspec.Struct):
    identifier: str | None = None
    decimals: Annotated[int, msgspec.Meta(ge=0, le=4)] | None = None


class _Charge(msgspec.Struct):
    """A charge object whose fields are all as Monta's reference has them."""

    id: Id
    state: str
    updatedAt: Date  # noqa: N815  Monta's names
    consumedKwh: Decimal  # noqa: N815
    createdAt: Date | None = None  # noqa: N815
    chargePointId: Id | None = None  # noqa: N815
    partnerExternalId: str | None = None  # noqa: N815
    price: Decimal | None = None
    averagePricePerKwh: Decimal | None = None  # noqa: N815
    priceLimit: Decimal | None = None  # noqa: N815
    kwhLimit: Decimal | None = None  # noqa: N815
    currency: _Currency | None = None
    startedAt: Date | None = None  # noqa: N815
    stoppedAt: None = None  # noqa: N815
    completedAt: None = None  # noqa: N815
    failedAt: None = None  # noqa: N815
    failureReason: None = None  # noqa: N815
    stopReason: None = None  # noqa: N815
    cablePluggedInAt: Date | None = None  # noqa: N815


class _Entry(msgspec.Struct):
    entityType: str  # noqa: N815
    eventType: str  # noqa: N815
    payload: _Charge
    entityId: Id | str | None = None  # noqa: N815
    eventTime: Date | None = None  # noqa: N815


class _Delivery(msgspec.Struct):
    entries: list[msgspec.Raw]


_DELIVERY = msgspec.json.Decoder(_Delivery)
_ENTRY = msgspec.json.Decoder(_Entry)


@dataclass(frozen=True, slots=True)
class PlainReading:
    """A reading, its entry's text, and its prices' unit."""

    told: Told
    text: bytes
    unit: PriceUnit


def entry_texts(body: bytes) -> list[msgspec.Raw] | None:
    """The texts of a delivery's entries. None: it is out of the ordinary as a whole, or no delivery."""
    try:
        return _DELIVERY.decode(body).entries
    except (msgspec.MsgspecError, RecursionError):
        return None


def plain_reading(text: msgspec.Raw, unit: PriceUnit) -> PlainReading | None:
    """Reads an entry that is a plain reading. None: it is none."""
    told = _told(text, unit)
    return None if told is None else PlainReading(told, bytes(text), unit)


def _told(raw: msgspec.Raw, unit: PriceUnit) -> Told | None:
    try:
        entry = _ENTRY.decode(raw)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    charge = entry.payload
    if entry.entityType != "charge" or entry.eventType == "deleted" or charge.state != CHARGING:
        return None
    if entry.entityId is not None and str(entry.entityId) != str(charge.id):
        return None
    try:
        return _in_bounds(entry, charge, unit)
    except InvalidOperation:  # NaN, or more digits than any measurement has
        return None


def _in_bounds(entry: _Entry, charge: _Charge, unit: PriceUnit) -> Told | None:
    kwh, price, average = charge.consumedKwh, charge.price, charge.averagePricePerKwh
    if not 0 <= kwh <= MAX_KWH or (price is not None and not 0 <= price <= MAX_PRICE):
        return None
    if average is not None and not 0 <= average <= MAX_PRICE:
        return None
    if unit is PriceUnit.MINOR:
        decimals = charge.currency.decimals if charge.currency is not None else None
        scale = -2 if decimals is None else -decimals
        price = None if price is None else price.scaleb(scale)
        average = None if average is None else average.scaleb(scale)
    currency = charge.currency.identifier if charge.currency is not None else None
    return Told(
        charge_id=ChargeId(str(charge.id)),
        reference=charge.partnerExternalId,
        said=said(
            None if charge.chargePointId is None else str(charge.chargePointId),
            None if currency is None else currency.upper(),
            charge.priceLimit,
            charge.kwhLimit,
            charge.createdAt,
            charge.startedAt,
            charge.cablePluggedInAt,
        ),
        updated_at=charge.updatedAt,
        happened_at=entry.eventTime,
        energy_wh=int((kwh * 1000).to_integral_value(ROUND_HALF_UP)),
        price=price,
        price_per_kwh=average,
    )
