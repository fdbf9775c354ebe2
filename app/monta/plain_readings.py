"""Reads a running charge's usual webhook entry quickly. In a fraction of the time; all others are left."""

import re
from collections.abc import Sequence
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Annotated, Literal

import msgspec

from app.domain.charging.charge import PriceUnit
from app.domain.session.states.kept_readings import Told, new_tuple
from app.domain.units.ids import ChargeId
from app.monta.fields import MAX_ID
from app.monta.objects import MAX_KWH, MAX_PRICE, percent_of
from app.monta.sameness import said

Date = Annotated[datetime, msgspec.Meta(tz=True)]
Id = Annotated[int, msgspec.Meta(ge=1, le=MAX_ID)]


class _Currency(msgspec.Struct, gc=False):
    identifier: str | None = None
    decimals: Annotated[int, msgspec.Meta(ge=0, le=4)] | None = None


class _Soc(msgspec.Struct, gc=False):
    percentage: Decimal | None = None


class _Charge(msgspec.Struct, gc=False):
    """A charge object whose fields are all as Monta's reference has them. Which of those that are counted are there is
    known."""

    id: Id
    state: Literal["charging"]
    updatedAt: Date  # noqa: N815  Monta's names
    consumedKwh: Decimal  # noqa: N815
    price: Decimal | msgspec.UnsetType | None = msgspec.UNSET
    averagePricePerKwh: Decimal | msgspec.UnsetType | None = msgspec.UNSET  # noqa: N815
    createdAt: Date | None = None  # noqa: N815
    chargePointId: Id | None = None  # noqa: N815
    partnerExternalId: str | None = None  # noqa: N815
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
    soc: _Soc | None = None


class _Entry(msgspec.Struct, gc=False):
    entityType: Literal["charge"]  # noqa: N815
    eventType: str  # noqa: N815
    payload: _Charge
    eventTime: Date | msgspec.UnsetType | None = msgspec.UNSET  # noqa: N815
    entityId: Id | str | None = None  # noqa: N815


class _Delivery(msgspec.Struct):
    entries: list[msgspec.Raw]


class _PlainDelivery(msgspec.Struct):
    """A delivery whose entries may all be plain readings."""

    entries: Annotated[list[_Entry], msgspec.Meta(min_length=1)]


_UNSET, _MAJOR = msgspec.UNSET, PriceUnit.MAJOR
_DELIVERY = msgspec.json.Decoder(_Delivery)
_PLAIN = msgspec.json.Decoder(_PlainDelivery)
_ENTRY = msgspec.json.Decoder(_Entry)
_UNREADABLE = (msgspec.MsgspecError, RecursionError, ValueError, InvalidOperation)
"""InvalidOperation: not a number, or more digits than any measurement has."""
ONCE = (b'"updatedAt"', b'"consumedKwh"', b'"charging"')
"""Names that decide what is read, and the state's value: each entry has them. An entry that has one of them, or of
PRICE, AVERAGE and EVENT, twice is read with more care, and set aside (F45); so is one with `payload` or a list of
`entries` twice, since each of those has an `updatedAt`. Of all other names each value must be the one that was
expected, but for `soc`, which is shown and decides nothing."""
PRICE, AVERAGE = b'"price"', b'"averagePricePerKwh"'
"""Names that an entry may leave out."""
EVENT = b'"eventT'
"""What `eventType` begins with, and `eventTime`, which an entry may leave out."""
ESCAPED = re.compile(rb"\\u00[4-7]")
"""A letter of a name that is spelled with it would not be found by its text. Other escapes are part of values only:
umlauts of someone's name."""
MOST_AT_ONCE_BYTES = 150_000
"""A delivery that is read in one step, within half a millisecond; about 100 entries."""
_NONE, _MOST_KWH, _MOST_PRICE, _FULL = Decimal(0), Decimal(MAX_KWH), Decimal(MAX_PRICE), Decimal(100)
_THOUSAND = Decimal(1000)


def plain_readings(body: bytes, unit: PriceUnit) -> list[Told] | None:
    """Reads a delivery of nothing but plain readings. None: it has something else, or is long."""
    if len(body) > MOST_AT_ONCE_BYTES:
        return None
    found: list[Told] = []
    try:
        entries = _PLAIN.decode(body).entries
        if _may_be_ambiguous(body, entries):
            return None
        for entry in entries:
            told = _told(entry, unit)
            if told is None:
                return None
            found.append(told)
    except _UNREADABLE:
        return None
    return found


def entry_texts(body: bytes) -> list[msgspec.Raw] | None:
    """The texts of a delivery's entries. None: it is out of the ordinary as a whole, or no delivery."""
    if body.count(b'"entries"') != 1 or _has_escapes(body):
        return None
    try:
        return _DELIVERY.decode(body).entries
    except (msgspec.MsgspecError, RecursionError):
        return None


def plain_texts(body: bytes) -> list[bytes]:
    """The texts of the entries of a delivery that has nothing but plain readings."""
    return [bytes(text) for text in _DELIVERY.decode(body).entries]


def plain_reading(text: bytes, unit: PriceUnit) -> Told | None:
    """Reads an entry that is a plain reading. None: it is none."""
    try:
        entry = _ENTRY.decode(text)
        return None if _may_be_ambiguous(text, [entry]) else _told(entry, unit)
    except _UNREADABLE:
        return None


def _may_be_ambiguous(text: bytes, entries: Sequence[_Entry]) -> bool:
    """Whether something that decides comes more often than once in each entry that has it."""
    most = len(entries)
    return (
        _has_escapes(text)
        or max([text.count(each) for each in ONCE]) > most
        or text.count(PRICE) != len([1 for entry in entries if entry.payload.price is not _UNSET])
        or text.count(AVERAGE)
        != len([1 for entry in entries if entry.payload.averagePricePerKwh is not _UNSET])
        or text.count(EVENT) != most + len([1 for entry in entries if entry.eventTime is not _UNSET])
    )


def _has_escapes(text: bytes) -> bool:
    """Whether a name may be spelled in another way. A single byte is looked for much faster than several."""
    return b"\\" in text and ESCAPED.search(text) is not None


def _told(entry: _Entry, unit: PriceUnit) -> Told | None:
    """What an entry says. None: it is no plain reading. Raises InvalidOperation."""
    charge = entry.payload
    charge_id, kwh = str(charge.id), charge.consumedKwh
    price = None if charge.price is _UNSET else charge.price
    average = None if charge.averagePricePerKwh is _UNSET else charge.averagePricePerKwh
    if entry.eventType == "deleted" or (entry.entityId is not None and str(entry.entityId) != charge_id):
        return None
    if not (_NONE <= kwh <= _MOST_KWH and _is_price(price) and _is_price(average)):
        return None
    if unit is not _MAJOR:
        price, average = _major(price, charge.currency), _major(average, charge.currency)
    soc = None if charge.soc is None else charge.soc.percentage
    if soc is not None and not _NONE <= soc <= _FULL:
        return None
    point, currency = charge.chargePointId, charge.currency
    code = None if currency is None else currency.identifier
    rest = said(
        None if point is None else str(point),
        None if code is None else code.upper(),
        charge.priceLimit,
        charge.kwhLimit,
        charge.createdAt,
        charge.startedAt,
        charge.cablePluggedInAt,
    )
    happened_at = None if entry.eventTime is _UNSET else entry.eventTime
    wh = int((kwh * _THOUSAND).to_integral_value(ROUND_HALF_UP))
    course = (charge.updatedAt, happened_at, wh, price, average, None if soc is None else percent_of(soc))
    return new_tuple(Told, (ChargeId(charge_id), charge.partnerExternalId, rest, *course))


def _is_price(value: Decimal | None) -> bool:
    return value is None or _NONE <= value <= _MOST_PRICE


def _major(minor: Decimal | None, currency: _Currency | None) -> Decimal | None:
    """A price in major units, given in minor ones."""
    decimals = None if currency is None else currency.decimals
    return None if minor is None else minor.scaleb(-2 if decimals is None else -decimals)
