"""Converts Monta's price group to an OCPI tariff that never costs less."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from app.domain.units.frozen import frozen


class PricingType(StrEnum):
    """What a pricing element counts. `OTHER` stands for any name that we do not know."""

    KWH = "kwh"
    MIN = "min"
    """The master price per minute; `MINUTE` is a fee on top."""
    SPOT = "spot"
    TARIFF = "tariff"
    STARTING = "starting"
    CHARGING = "charging"
    """A fixed fee after a number of minutes of charging."""
    IDLE = "idle"
    MINUTE = "minute"
    OTHER = "other"


@frozen(kw_only=True)
class Money:
    """In major units of `currency` (upper case)."""

    amount: Decimal
    currency: str


@frozen(kw_only=True)
class Addition:
    """An addition to a spot or master price, absolute or in percent."""

    value: Money | None
    is_percentage: bool


@frozen(kw_only=True)
class Pricing:
    """One element. `after_min`: the free minutes; `ends_when_full`: a minute fee that ends with the charging."""

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


@frozen(kw_only=True)
class PriceGroup:
    """One price group; `tariffs` are further prices beside the master, whose schedule Monta does not show."""

    id: str
    name: str | None
    master: Pricing | None
    tariffs: tuple[Pricing, ...] = ()
    fees: tuple[Pricing, ...] = ()


@frozen(kw_only=True)
class Converted:
    """An OCPI Tariff object, and in words what it leaves out. None when no bound is known."""

    tariff: Mapping[str, object] | None
    gaps: tuple[str, ...]
    currency: str | None = None
    """The currency of everything in the group; None: several, or none is named."""


Object: TypeAlias = dict[str, object]

ANY_POWER_KW = Decimal("0.001")
"""A restriction that every energy meets but a lower bound cannot rely on: so a highest price counts for the upper bound
without raising the lower one."""
VAT_AT_MOST = Decimal("1.27")
"""The highest VAT, since Monta's texts disagree whether a spot price's bounds contain it. No country has more than 27
%."""
MINUTE_S = 60

VAT_GAP = "Monta does not say whether prices contain VAT; they are taken as what the driver pays"
MINUTES_GAP = "Monta does not say how parts of a minute count; they are taken as whole minutes"


class _Unbounded(Exception):
    """Nothing in the group bounds its price."""


def to_tariff(group: PriceGroup) -> Converted:
    """Converts a price group to a tariff. Its prices contain taxes and are in major units."""
    gaps: list[str] = [VAT_GAP]
    try:
        elements = _elements(group, gaps)
        currency = _currency(group)
    except _Unbounded as why:
        return Converted(tariff=None, gaps=(*gaps, str(why)), currency=_only_currency(group))
    if not elements:
        elements = [_element(_component("ENERGY", Decimal(0)))]
    tariff: Mapping[str, object] = {
        "id": f"monta-pg-{group.id}",
        "currency": currency,
        "tax_included": "YES",
        "elements": elements,
    }
    return Converted(tariff=tariff, gaps=tuple(dict.fromkeys(gaps)), currency=currency)


def _elements(group: PriceGroup, gaps: list[str]) -> list[Object]:
    if group.master is None:
        raise _Unbounded("the price group has no master price")
    by_minute = [f for f in group.fees if f.type is PricingType.MINUTE]
    prices = [group.master, *group.tariffs]
    energy = [p for p in prices if p.type is not PricingType.MIN]
    by_minute += [p for p in prices if p.type is PricingType.MIN]
    known = {PricingType.MINUTE, PricingType.STARTING, PricingType.CHARGING, PricingType.IDLE}
    for fee in group.fees:
        if fee.type not in known:
            raise _Unbounded("the price group has a fee of a kind that is not known")
        if fee.is_limited_in_time:
            gaps.append("a fee that holds for a part of the time only is counted always")
    idle = [f for f in group.fees if f.type is PricingType.IDLE]
    return [
        *_energy(energy, gaps),
        *_flats([f for f in group.fees if f.type in (PricingType.STARTING, PricingType.CHARGING)], gaps),
        *_minutes(by_minute, gaps),
        *_parking([*(f for f in by_minute if not f.ends_when_full), *idle], gaps),
    ]


def _energy(prices: list[Pricing], gaps: list[str]) -> list[Object]:
    """One price a kWh. Of several possible ones the highest, and the lowest for the lower bound."""
    bounds = [_energy_bounds(price, gaps) for price in prices]
    if not bounds:
        return []
    least, most = min(low for low, _ in bounds), max(high for _, high in bounds)
    if len(prices) > 1:
        gaps.append("when each of several prices a kWh applies is not shown; the highest counts")
    if least == most:
        return [_element(_component("ENERGY", most))]
    return [
        _element(_component("ENERGY", most), min_power=ANY_POWER_KW),
        _element(_component("ENERGY", least)),
    ]


def _energy_bounds(price: Pricing, gaps: list[str]) -> tuple[Decimal, Decimal]:
    """The lowest and the highest possible price a kWh of this element."""
    if price.type not in (PricingType.KWH, PricingType.SPOT, PricingType.TARIFF):
        raise _Unbounded("the price group has a price of a kind that is not known")
    if price.type is PricingType.KWH and not price.dynamic:
        if price.price is None:
            raise _Unbounded("the price of a kWh is missing")
        low = high = price.price.amount
    else:
        if price.price_max is None:
            raise _Unbounded(f"a {price.type} price without a highest price has no bound")
        gaps.append(f"a {price.type} price changes with time; its highest price counts")
        low = price.price_min.amount if price.price_min else Decimal(0)
        high = price.price_max.amount * (VAT_AT_MOST if price.adds_vat else 1)
        high *= max(Decimal(1), (price.percentage or Decimal(100)) / 100)
        low *= min(Decimal(1), (price.percentage or Decimal(100)) / 100)
    return _with_additions(price, low, high)


def _with_additions(price: Pricing, low: Decimal, high: Decimal) -> tuple[Decimal, Decimal]:
    """Adds percentages, then absolute amounts. Monta does not document how it counts a percentage."""
    added = Decimal(0)
    for addition in price.additions:
        if addition.is_percentage or addition.value is None:
            raise _Unbounded("the price has an addition in percent, whose unit Monta does not show")
        added += addition.value.amount
    return max(Decimal(0), low + added), max(Decimal(0), high + added)


def _flats(fees: list[Pricing], gaps: list[str]) -> list[Object]:
    """Fees due once. The latest comes first: until it is due, the one below it is in force."""
    found: list[Object] = []
    by_start: dict[int, Decimal] = {}
    for fee in fees:
        after = fee.after_min if fee.type is PricingType.CHARGING else 0
        by_start[after] = by_start.get(after, Decimal(0)) + _amount(fee)
        if after:
            gaps.append("a fee after minutes of charging is counted after minutes of the session")
    for after, amount in sorted(by_start.items(), reverse=True):
        found.append(_element(_component("FLAT", amount), min_duration=after * MINUTE_S))
    return found


def _minutes(fees: list[Pricing], gaps: list[str]) -> list[Object]:
    if fees:
        gaps.append(MINUTES_GAP)
    if any(fee.after_min for fee in fees):
        gaps.append("free minutes of charging are counted from the start of the session")
    return _by_level("TIME", fees)


def _parking(fees: list[Pricing], gaps: list[str]) -> list[Object]:
    """Fees for minutes without charging. OCPI cannot express an idle fee's own free minutes and highest sum."""
    idle = [fee for fee in fees if fee.type is PricingType.IDLE]
    if idle:
        gaps.append(MINUTES_GAP)
    for fee in idle:
        if fee.after_min:
            gaps.append(
                f"the first {fee.after_min} minutes without charging are free, but may be counted here"
            )
        if fee.fee_max is not None:
            gaps.append(
                f"the idle fee ends at {fee.fee_max.amount} {fee.fee_max.currency}, but is counted on here"
            )
    unsure = any(fee.after_min or fee.fee_max for fee in idle)
    elements = _by_level("PARKING_TIME", fees, only_without_power=unsure)
    return [*elements, _element(_component("PARKING_TIME", Decimal(0)))] if unsure else elements


def _by_level(dimension: str, fees: list[Pricing], *, only_without_power: bool = False) -> list[Object]:
    """Sums the per-minute fees that run after each number of free minutes."""
    found: list[Object] = []
    for after in sorted({fee.after_min for fee in fees}, reverse=True):
        per_hour = sum((_amount(fee) for fee in fees if fee.after_min <= after), Decimal(0)) * 60
        found.append(
            _element(
                _component(dimension, per_hour, step_size=MINUTE_S),
                min_duration=after * MINUTE_S,
                max_power=ANY_POWER_KW if only_without_power else None,
            )
        )
    return found


def _amount(pricing: Pricing) -> Decimal:
    if pricing.price is None:
        raise _Unbounded(f"the {pricing.type} fee has no price")
    return pricing.price.amount


def _component(dimension: str, price: Decimal, *, step_size: int = 1) -> Object:
    return {"type": dimension, "price": price.normalize() + 0, "step_size": step_size}


def _element(
    component: Object,
    *,
    min_duration: int = 0,
    min_power: Decimal | None = None,
    max_power: Decimal | None = None,
) -> Object:
    asked: Object = {"min_power": min_power, "max_power": max_power, "min_duration": min_duration or None}
    restrictions = {name: value for name, value in asked.items() if value is not None}
    element: Object = {"price_components": [component]}
    return element | {"restrictions": restrictions} if restrictions else element


def _currency(group: PriceGroup) -> str:
    """The one currency of everything in the group."""
    only = _only_currency(group)
    if only is None:
        several = any(True for _ in _all_money(group))
        raise _Unbounded(
            "the price group is in several currencies" if several else "no price says its currency"
        )
    return only


def _only_currency(group: PriceGroup) -> str | None:
    found = {money.currency for money in _all_money(group)}
    return found.pop() if len(found) == 1 else None


def _all_money(group: PriceGroup) -> Iterable[Money]:
    for pricing in (group.master, *group.tariffs, *group.fees):
        if pricing is not None:
            amounts = (pricing.price, pricing.price_min, pricing.price_max, pricing.fee_max)
            yield from (money for money in amounts if money is not None)
