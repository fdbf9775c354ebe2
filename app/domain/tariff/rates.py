"""A tariff's exact prices per Wh and second, with taxes. Which of them may be in force."""

from fractions import Fraction
from functools import cached_property, lru_cache
from math import lcm
from typing import assert_never

from app.domain.tariff.model import (
    Dimension,
    Element,
    PriceComponent,
    PriceLimit,
    Restrictions,
    Tariff,
    TaxIncluded,
)
from app.domain.units.frozen import frozen

UNITS = {Dimension.FLAT: 1, Dimension.ENERGY: 1000, Dimension.TIME: 3600, Dimension.PARKING_TIME: 3600}
"""A price is for this many sessions, Wh or seconds."""


@frozen
class Rate:
    """One component's price for one session, Wh or second. Before and with taxes. Step in Wh or seconds."""

    net: Fraction
    gross: Fraction
    step: int


@frozen
class Rated:
    """An element that prices sessions (not reservations), with its rates by dimension."""

    restrictions: Restrictions
    rates: dict[Dimension, Rate]


@frozen
class PlainPrices:
    """Price and step of each dimension. For one session, Wh or second; prices over the tariff's denominator."""

    flat: tuple[int, int]
    energy: tuple[int, int]
    time: tuple[int, int]
    parking: tuple[int, int]


class Rates:
    """What is derived once from a tariff."""

    def __init__(self, tariff: Tariff) -> None:
        kept = [each for each in tariff.elements if each.restrictions.reservation is None]
        self.elements = tuple(rated(each, tariff.tax_included) for each in kept)
        self.restrictions = tuple(each.restrictions for each in self.elements)
        self.least_total = self._limit(tariff.min_price)
        self.most_total = self._limit(tariff.max_price)

    @cached_property
    def plain(self) -> dict[Dimension, Rate] | None:
        """Returns each dimension's one rate when no element is restricted. None otherwise."""
        first: dict[Dimension, Rate] = {}
        for element in self.elements:
            wanted = element.rates.keys() - first.keys()
            if wanted and element.restrictions != Restrictions():
                return None
            first |= {dimension: element.rates[dimension] for dimension in wanted}
        return first

    @cached_property
    def plain_prices(self) -> "PlainPrices | None":
        """The rates of `plain` as whole numbers over `denominator`, for forecasts."""
        if self.plain is None:
            return None
        flat, energy, time, parking = (self._number(each) for each in Dimension)
        return PlainPrices(flat, energy, time, parking)

    @cached_property
    def highest_tax(self) -> Fraction:
        """Returns the largest factor from before taxes to total. At least 1."""
        found = [
            rate.gross / rate.net for each in self.elements for rate in each.rates.values() if rate.net > 0
        ]
        return max([Fraction(1), *found])

    @cached_property
    def denominator(self) -> int:
        """Every price with taxes is a whole multiple of one over this."""
        amounts = [rate.gross for each in self.elements for rate in each.rates.values()]
        limits = [each for each in (self.least_total, self.most_total) if each is not None]
        return lcm(*(amount.denominator for amount in amounts + limits))

    def _number(self, dimension: Dimension) -> tuple[int, int]:
        rate = (self.plain or {}).get(dimension)
        return (0, 1) if rate is None else (int(rate.gross * self.denominator), rate.step)

    def _limit(self, limit: PriceLimit | None) -> Fraction | None:
        """The total that a least or highest price can come to."""
        if limit is None:
            return None
        if limit.total is not None:
            return Fraction(limit.total)
        return Fraction(limit.before_tax or 0) * self.highest_tax


@lru_cache(maxsize=1024)
def rates_of(tariff: Tariff) -> Rates:
    """The tariff's rates, derived once for each tariff object."""
    return Rates(tariff)


def rated(element: Element, tax_included: TaxIncluded) -> Rated:
    """An element with the prices of its components before and with taxes."""
    return Rated(
        element.restrictions,
        {each.dimension: _rate(each, tax_included) for each in element.components},
    )


def _rate(component: PriceComponent, tax_included: TaxIncluded) -> Rate:
    price = Fraction(component.price) / UNITS[component.dimension]
    factor = 1 + Fraction(component.vat or 0) / 100
    match tax_included:
        case TaxIncluded.YES:
            net, gross = price / factor, price
        case TaxIncluded.NO:
            net, gross = price, price * factor
        case TaxIncluded.NOT_APPLICABLE:
            net, gross = price, price
        case _:
            assert_never(tax_included)
    return Rate(net, gross, component.step_size)
