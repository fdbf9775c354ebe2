"""The most that a session may cost until a time, whatever its course of power."""

from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction
from typing import Protocol
from zoneinfo import ZoneInfo

from app.domain.tariff.cell_outlook import CellOutlook
from app.domain.tariff.model import Tariff
from app.domain.tariff.plain_outlook import PlainOutlook
from app.domain.tariff.rates import rates_of
from app.domain.tariff.reading import LONGEST_SESSION, Reading
from app.domain.tariff.search import latest_within
from app.domain.tariff.span import SCALE, span_of
from app.domain.tariff.windows import microseconds

UP = Context(prec=28, rounding=ROUND_CEILING)


class Outlook(Protocol):
    """A session's highest cost as a function of time, in whole parts of a major unit; it never falls."""

    def cost(self, until_us: int) -> int:
        """The highest cost `until_us` after the reading, times the tariff's denominator and SCALE."""
        ...


class Forecast:
    """The bound for one tariff, reading and power, ready to be asked for many times up to the horizon."""

    def __init__(
        self, tariff: Tariff, reading: Reading, max_power_w: int, tz: ZoneInfo, horizon_us: int
    ) -> None:
        rates = rates_of(tariff)
        self.span = span_of(reading, max_power_w)
        self.scale = rates.denominator * SCALE
        self._plain: PlainOutlook | None = None
        self._outlook: Outlook
        if rates.plain_prices is None:
            self._outlook = CellOutlook(rates, reading, self.span, tz, horizon_us)
        else:
            self._outlook = self._plain = PlainOutlook(rates.plain_prices, self.span)
        self._least = _scaled(rates.least_total, self.scale)
        self._most = _scaled(rates.most_total, self.scale)

    def cost(self, until_us: int) -> int:
        """The highest cost `until_us` after the reading, within least and highest price, times `scale`."""
        cost = self._outlook.cost(until_us)
        if self._least is not None:
            cost = max(cost, self._least)
        return cost if self._most is None else min(cost, self._most)

    def latest(self, allowed: int, end_us: int, resolution_us: int) -> int | None:
        """The latest time, in µs from the reading, at which the cost is at most `allowed`.

        None: at `end_us` it still is. 0 or less: it is above already. Early by `resolution_us` at most.
        """
        if self._most is not None and self._most <= allowed:
            return None
        if self._least is not None and self._least > allowed:
            return 0
        if self._plain is not None and self._plain.by_energy_alone:
            return self._plain.latest(allowed)
        return latest_within(self.cost, allowed, end_us, resolution_us)


def upper_bound(tariff: Tariff, reading: Reading, until: datetime, max_power_w: int, tz: ZoneInfo) -> Decimal:
    """The highest total, in major units, that a session can have at `until` at any power up to `max_power_w`.

    Includes taxes as the tariff names them. Never falls when `until`, the energy or the power rises. The past
    may have had any power. Exact for flat fee, energy and one kind of time without restrictions.
    """
    ahead_us = microseconds(min(max(timedelta(), until - reading.at), LONGEST_SESSION))
    forecast = Forecast(tariff, reading, max_power_w, tz, ahead_us)
    return UP.divide(Decimal(forecast.cost(ahead_us)), Decimal(forecast.scale))


def _scaled(limit: Fraction | None, scale: int) -> int | None:
    return None if limit is None else int(limit * scale)
