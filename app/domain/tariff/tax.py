"""Splits a total into net and tax, where the tariff is clear."""

from decimal import Decimal
from fractions import Fraction

from app.domain.tariff.model import Tariff, TaxIncluded
from app.domain.units.frozen import frozen


@frozen(kw_only=True)
class TaxShare:
    """A part of a total under one rate: `rate` in percent, amounts in minor units."""

    rate: Decimal
    net_minor: int
    tax_minor: int


def tax_split(tariff: Tariff | None, total_minor: int) -> tuple[TaxShare, ...]:
    """Splits the total into shares that add up to it exactly. Net is rounded half up, tax is the rest.

    Empty when nothing is paid, or when the tariff does not say: no tariff, `N/A`, a component without VAT, or several
    rates, of which a total alone does not tell how much fell under which.
    """
    rate = one_rate(tariff)
    if rate is None or total_minor <= 0:
        return ()
    exact = total_minor / (1 + Fraction(rate) / 100)
    net = (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)
    return (TaxShare(rate=rate, net_minor=net, tax_minor=total_minor - net),)


def one_rate(tariff: Tariff | None) -> Decimal | None:
    """The VAT in percent of every component that costs anything. None: there is no such single rate."""
    if tariff is None or tariff.tax_included is TaxIncluded.NOT_APPLICABLE:
        return None
    rates = {
        c.vat for e in tariff.elements if e.restrictions.reservation is None for c in e.components if c.price
    }
    return rates.pop() if len(rates) == 1 else None
