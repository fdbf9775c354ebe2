"""Reads a running charge's usual webhook entry quickly. In a fraction of the time; all others are left."""

from collections.abc import Sequence
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


class _PlainDelivery(msgspec.Struct):
    """A delivery whose entries may all be plain readings."""

    entries: list[_Entry]


_DELIVERY = msgspec.json.Decoder(_Delivery)
_PLAIN = msgspec.json.Decoder(_PlainDelivery)
_ENTRY = msgspec.json.Decoder(_Entry)
_UNREADABLE = (msgspec.MsgspecError, RecursionError, ValueError)
ONCE = tuple(
    f'"{name}"'.encode()
    for name in (
        "payload",
        "state",
        "updatedAt",
        "consumedKwh",
        "price",
        "averagePricePerKwh",
    )
)
"""Names that decide what is read, with TWICE. An entry that has one of them twice is read with more care, and set aside
(F45); of all others the value must be the one that was expected."""
TWICE = b'"eventT'
"""What `eventType` and `eventTime` begin with."""
ESCAPED = b"\\u"
"""A name that is spelled with it would not be found by its text."""
MOST_AT_ONCE_BYTES = 150_000
"""A delivery that is read in one step, within half a millisecond; about 100 entries."""


class _Texts:
    """The texts of a delivery's entries, cut out when they are first asked for."""

    __slots__ = ("_body", "_texts")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._texts: list[msgspec.Raw] | None = None

    def __getitem__(self, number: int) -> bytes:
        if self._texts is None:
            self._texts = _DELIVERY.decode(self._body).entries
        return bytes(self._texts[number])


@dataclass(slots=True, eq=False)
class PlainReading:
    """A reading, with the unit of its prices."""

    told: Told
    unit: PriceUnit
    _texts: Sequence[bytes] | _Texts
    _number: int = 0

    @property
    def text(self) -> bytes:
        """The text of its entry."""
        return self._texts[self._number]


def plain_readings(body: bytes, unit: PriceUnit) -> tuple[PlainReading, ...] | None:
    """Reads a delivery of nothing but plain readings. None: it has something else, or is long."""
    if len(body) > MOST_AT_ONCE_BYTES:
        return None
    try:
        entries = _PLAIN.decode(body).entries
    except _UNREADABLE:
        return None
    # Where one entry lacks a name, another may have it twice.
    if _may_be_ambiguous(body, len(entries)) or not all(map(_is_whole, entries)):
        return None
    texts = _Texts(body)
    found: list[PlainReading] = []
    for number, entry in enumerate(entries):
        told = _told(entry, unit)
        if told is None:
            return None
        found.append(PlainReading(told, unit, texts, number))
    return tuple(found)


def entry_texts(body: bytes) -> list[msgspec.Raw] | None:
    """The texts of a delivery's entries. None: it is out of the ordinary as a whole, or no delivery."""
    if body.count(b'"entries"') != 1 or _has_escapes(body):
        return None
    try:
        return _DELIVERY.decode(body).entries
    except (msgspec.MsgspecError, RecursionError):
        return None


def plain_reading(text: msgspec.Raw, unit: PriceUnit) -> PlainReading | None:
    """Reads an entry that is a plain reading. None: it is none."""
    data = bytes(text)
    if _may_be_ambiguous(data, 1):
        return None
    try:
        entry = _ENTRY.decode(data)
    except _UNREADABLE:
        return None
    if entry.eventTime is None and data.count(TWICE) > 1:
        return None
    told = _told(entry, unit)
    return None if told is None else PlainReading(told, unit, (data,))


def _is_whole(entry: _Entry) -> bool:
    charge = entry.payload
    return None not in (entry.eventTime, charge.price, charge.averagePricePerKwh)


def _may_be_ambiguous(text: bytes, entries: int) -> bool:
    """Whether a name that decides something comes more often than once in each entry."""
    if _has_escapes(text) or text.count(b'"entries"') > 1 or text.count(TWICE) > 2 * entries:
        return True
    return any(text.count(each) > entries for each in ONCE)


def _has_escapes(text: bytes) -> bool:
    """Whether a name may be spelled in another way. A single byte is looked for much faster than two."""
    return b"\\" in text and ESCAPED in text


def _told(entry: _Entry, unit: PriceUnit) -> Told | None:
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
