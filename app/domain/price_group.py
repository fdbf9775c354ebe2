"""Monta's price group as values: what its reference (Price groups) says, no more."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class PricingType(StrEnum):
    """What a pricing element counts; `OTHER` stands for any name that we do not know."""

    KWH = "kwh"
    MIN = "min"
    """The master price per minute; `MINUTE` is a fee on top."""
    SPOT = "spot"
    TARIFF = "tariff"
    STARTING = "starting"
    CHARGING = "charging"
    """A fixed fee after so many minutes of charging."""
    IDLE = "idle"
    MINUTE = "minute"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """In major units of `currency` (upper case)."""

    amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """Something on top of a spot or master price: absolute, or a percentage of it."""

    value: Money | None
    is_percentage: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pricing:
    """One element. `after_min`: minutes that are free; `ends_when_full`: a minute fee that ends with the charging."""

    type: PricingType
    price: Money | None = None
    price_min: Money | None = None
    price_max: Money | None = None
    fee_max: Money | None = None
    after_min: int = 0
    ends_when_full: bool = False
    dynamic: bool = False
    adds_vat: bool = False
    percentage: Decimal | None = None
    additions: tuple[Addition, ...] = ()
    is_limited_in_time: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceGroup:
    """One price group; `tariffs` are further prices beside the master, without a schedule that we are told of."""

    id: str
    name: str | None
    master: Pricing | None
    tariffs: tuple[Pricing, ...] = ()
    fees: tuple[Pricing, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """An OCPI Tariff object, or None when no bound can be told; and in words what it does not say of the group."""

    tariff: Mapping[str, object] | None
    gaps: tuple[str, ...]
    currency: str | None = None
    """Of everything in the group; None: it is in several, or nothing says."""
