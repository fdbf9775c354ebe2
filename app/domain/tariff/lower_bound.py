"""Bounds the least cost of a session at a reading."""

from decimal import ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from app.domain.tariff.model import Dimension, PriceLimit, Reading, Restrictions, Tariff
from app.domain.tariff.rates import Rates, rates_of
from app.domain.tariff.time_windows import asks_for_power, cells, span_of

DOWN = Context(prec=28, rounding=ROUND_FLOOR)


def lower_bound(tariff: Tariff, reading: Reading, tz: ZoneInfo) -> Decimal:
    """Computes the lowest total that a session can have. In major units, at the reading. No less will be billed.

    Takes each price at its lowest over the whole past, and steps as not yet rounded up.
    """
    rates = rates_of(tariff)
    past_us = span_of(reading, 0).past_us
    least = _by_plain_prices(rates, reading, past_us)
    if least is None:
        least = _by_cells(rates, reading, past_us, tz)
    least = max(least, _lowest_limit(tariff.min_price) or Fraction(0))
    most = _lowest_limit(tariff.max_price)
    least = least if most is None else min(least, most)
    return DOWN.divide(Decimal(least.numerator), Decimal(least.denominator))


def _by_plain_prices(rates: Rates, reading: Reading, past_us: int) -> Fraction | None:
    """In a fraction of the time. None: some price is restricted."""
    plain = rates.plain_prices
    if plain is None:
        return None
    by_energy = plain.flat[0] + plain.energy[0] * reading.energy_wh
    by_time = min(plain.time[0], plain.parking[0]) * past_us
    return Fraction(by_energy * 1_000_000 + by_time, rates.denominator * 1_000_000)


def _by_cells(rates: Rates, reading: Reading, past_us: int, tz: ZoneInfo) -> Fraction:
    found = cells(rates.restrictions, reading.since, past_us + 1, tz)
    by_energy = min(_lowest(rates, cell.active, Dimension.ENERGY) for cell in found)
    least = _lowest(rates, found[0].active, Dimension.FLAT) + by_energy * reading.energy_wh
    for cell in found:
        seconds = Fraction(max(0, min(cell.end_us, past_us) - cell.start_us), 1_000_000)
        kinds = (Dimension.TIME, Dimension.PARKING_TIME)
        least += min(_lowest(rates, cell.active, kind) for kind in kinds) * seconds
    return least


def _lowest(rates: Rates, active: tuple[int, ...], dimension: Dimension) -> Fraction:
    """The lowest price that may be in force. Nothing when no element is sure to be active."""
    found: list[Fraction] = []
    for index in active:
        element = rates.elements[index]
        if dimension not in element.rates:
            continue
        found.append(element.rates[dimension].gross)
        if _sure(element.restrictions):
            return min(found)
    return Fraction(0)


def _sure(restrictions: Restrictions) -> bool:
    return not asks_for_power(restrictions) and restrictions.min_kwh is None and restrictions.max_kwh is None


def _lowest_limit(limit: PriceLimit | None) -> Fraction | None:
    """Computes a price limit's total without taxes that it does not name."""
    if limit is None:
        return None
    named = limit.total if limit.total is not None else limit.before_tax
    return None if named is None else Fraction(named)
