"""Prices as a driver is shown them: each for one unit, now and at most."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from app.domain.tariff.model import Dimension, Tariff
from app.domain.tariff.rates import Rated, rates_of
from app.domain.tariff.time_windows import MICROSECOND, asks_for_power, cells, energy_allows, microseconds
from app.domain.units.frozen import frozen, replace
from app.domain.units.money import exponent

AHEAD = timedelta(days=8)
"""How far a change of the price is looked for: every day of the week, and one more."""
PLACES = Decimal("0.0001")


@frozen(kw_only=True)
class UnitPrices:
    """Prices of single units with taxes, in minor units. `per_idle_minute`: not charging."""

    per_session: Decimal
    per_kwh: Decimal
    per_minute: Decimal
    per_idle_minute: Decimal


@frozen(kw_only=True)
class ShownPrice:
    """`now`: what a charge that begins now pays at first. `most`: the highest of each price, at whatever time, energy
    or power. `valid_until`: when `now` changes by the clock; None: not within AHEAD."""

    currency: str
    now: UnitPrices
    most: UnitPrices
    valid_until: datetime | None


def shown_price(tariff: Tariff, now: datetime, tz: ZoneInfo) -> ShownPrice:
    """Finds the prices of a tariff that is in force at `now`. `tz` is the charge point's."""
    elements = [each for each in rates_of(tariff).elements if not each.restrictions.min_duration_s]
    by_clock = tuple(
        replace(each.restrictions, min_duration_s=None, max_duration_s=None) for each in elements
    )
    prices = [
        (
            now + cell.start_us * MICROSECOND,
            _first([elements[index] for index in cell.active], tariff.currency),
        )
        for cell in cells(by_clock, now, microseconds(AHEAD), tz)
    ]
    changes = [at for at, shown in prices if shown != prices[0][1]]
    ends = [at for at in (tariff.end_date_time,) if at is not None]
    return ShownPrice(
        currency=tariff.currency,
        now=prices[0][1],
        most=_prices([[each] for each in rates_of(tariff).elements], tariff.currency),
        valid_until=min([*changes[:1], *ends], default=None),
    )


def _first(active: Sequence[Rated], currency: str) -> UnitPrices:
    """The prices at the start of a charge, by elements that its time allows.

    The first element of a dimension counts; where elements before it depend on a power that is not known yet, the
    dearest of them.
    """
    found: list[list[Rated]] = []
    for dimension in Dimension:
        candidates: list[Rated] = []
        for each in active:
            if dimension not in each.rates or not energy_allows(each.restrictions, Fraction(0)):
                continue
            candidates.append(replace(each, rates={dimension: each.rates[dimension]}))
            if not asks_for_power(each.restrictions):
                break
        found.append(candidates)
    return _prices(found, currency)


def _prices(groups: Iterable[Sequence[Rated]], currency: str) -> UnitPrices:
    """The dearest of each dimension."""
    rated = [each.rates for group in groups for each in group]
    minor = 10 ** exponent(currency)

    def dearest(dimension: Dimension, units: int) -> Decimal:
        gross = max((rates[dimension].gross for rates in rated if dimension in rates), default=Fraction(0))
        exact = gross * units * minor
        return (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(PLACES).normalize()

    return UnitPrices(
        per_session=dearest(Dimension.FLAT, 1),
        per_kwh=dearest(Dimension.ENERGY, 1000),
        per_minute=dearest(Dimension.TIME, 60),
        per_idle_minute=dearest(Dimension.PARKING_TIME, 60),
    )
