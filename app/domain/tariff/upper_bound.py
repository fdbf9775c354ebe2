"""Bounds a session's highest cost until a time, at any power."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction
from typing import Protocol
from zoneinfo import ZoneInfo

from app.domain.tariff.model import LONGEST_SESSION, Reading, Tariff
from app.domain.tariff.rates import PlainPrices, rates_of
from app.domain.tariff.restricted_forecast import RestrictedForecast
from app.domain.tariff.time_windows import PER_SECOND, SCALE, Span, microseconds, span_of


def latest_within(cost: Callable[[int], int], allowed: int, end: int, resolution: int) -> int | None:
    """Finds the last point where the cost is still allowed. At most `allowed`, up to `end`, early by `resolution` at
    most.

    None: at `end` it still is. 0: at 0 it is not, or no longer just after. Each round tries where a straight
    line would pass, then a point just beside that, then the middle; so the gap halves at least.
    """
    high, high_cost = end, cost(end)
    if high_cost <= allowed:
        return None
    low, low_cost = 0, cost(0)
    if low_cost > allowed:
        return 0
    while high - low > resolution:
        straight = low + (allowed - low_cost) * (high - low) // (high_cost - low_cost)
        for point in (straight, low + resolution, (low + high) // 2):
            at = min(max(point, low + 1), high - 1)
            found = cost(at)
            if found <= allowed:
                low, low_cost = at, found
            else:
                high, high_cost = at, found
            if high - low <= resolution:
                break
    return low


SECOND_US = 1_000_000


def up_to(amount: int, step: int) -> int:
    """The least multiple of `step` that is not below `amount`."""
    return -(-amount // step) * step


class PlainForecast:
    """Flat fee, energy and minutes at one price each. Exact where at most one kind of time costs anything."""

    def __init__(self, prices: PlainPrices, span: Span) -> None:
        self.span = span
        self.flat = prices.flat[0] * SCALE
        self.energy = prices.energy[0]
        self.energy_step = prices.energy[1] * SCALE
        self.time = prices.time[0] * PER_SECOND
        self.time_step = prices.time[1] * SECOND_US
        self.parking = prices.parking[0] * PER_SECOND
        self.parking_step = prices.parking[1] * SECOND_US

    @property
    def by_energy_alone(self) -> bool:
        """No minute costs anything, so the cost follows from the energy exactly."""
        return not self.time and not self.parking

    def cost(self, until_us: int) -> int:
        """The highest cost `until_us` after the reading."""
        energy = self.span.energy + self.span.power_w * until_us
        by_energy = self.flat + self.energy * up_to(energy, self.energy_step)
        if not self.parking:
            # At one price of time the worst is that all of it was charging.
            length = self.span.past_us + until_us if self.time else 0
            return by_energy + self.time * up_to(length, self.time_step)
        return min(by_energy + self._dearest_minutes(until_us), self._charging_or_parked(until_us))

    def latest(self, amount: int) -> int | None:
        """Finds the last time at which `by_energy_alone` stays allowed. In µs from the reading, at a cost of at most
        `amount`.

        None: never above it. Below 0: above it already.
        """
        if self.flat > amount:
            return -1
        if not self.energy:
            return None
        most = (amount - self.flat) // (self.energy * self.energy_step) * self.energy_step
        if most < self.span.energy:
            return -1
        return (most - self.span.energy) // self.span.power_w if self.span.power_w else None

    def _dearest_minutes(self, until_us: int) -> int:
        """Prices all minutes at the dearer price. Though energy flows only in those that are charging."""
        parked = self.span.parked_us + until_us
        if not self.time:
            return self.parking * up_to(parked, self.parking_step)
        dearer = max(0, self.parking - self.time)
        return self.time * (self.span.past_us + until_us) + dearer * parked + self._time_surplus()

    def _charging_or_parked(self, until_us: int) -> int:
        """Prices each moment as charging or parked, whichever costs more. From now on, at full power. Steps on top."""
        dearer = max(0, self.parking - self.time)
        past = self.energy * self.span.energy + self.time * self.span.past_us + dearer * self.span.parked_us
        moment = max(self.energy * self.span.power_w + self.time, self.parking)
        surplus = self.energy * self.energy_step + self._time_surplus()
        return self.flat + past + moment * until_us + surplus

    def _time_surplus(self) -> int:
        """Only the kind of time that was charged last is rounded up."""
        return max(self.time * self.time_step, self.parking * self.parking_step)


UP = Context(prec=28, rounding=ROUND_CEILING)


class CostForecast(Protocol):
    """A session's highest cost over time, never falling. In whole parts of a major unit."""

    def cost(self, until_us: int) -> int:
        """Returns the highest cost `until_us` after the reading. Times the tariff's denominator and SCALE."""
        ...


class Forecast:
    """The bound for one tariff, reading and power. Can be asked for many times up to the horizon."""

    def __init__(
        self, tariff: Tariff, reading: Reading, max_power_w: int, tz: ZoneInfo, horizon_us: int
    ) -> None:
        rates = rates_of(tariff)
        self.span = span_of(reading, max_power_w)
        self.scale = rates.denominator * SCALE
        self._plain: PlainForecast | None = None
        self._forecast: CostForecast
        if rates.plain_prices is None:
            self._forecast = RestrictedForecast(rates, reading, self.span, tz, horizon_us)
        else:
            self._forecast = self._plain = PlainForecast(rates.plain_prices, self.span)
        self._least = _scaled(rates.least_total, self.scale)
        self._most = _scaled(rates.most_total, self.scale)

    def cost(self, until_us: int) -> int:
        """Returns the highest cost within the price limits. `until_us` after the reading, times `scale`."""
        cost = self._forecast.cost(until_us)
        if self._least is not None:
            cost = max(cost, self._least)
        return cost if self._most is None else min(cost, self._most)

    def latest(self, allowed: int, end_us: int, resolution_us: int) -> int | None:
        """Finds the latest time with a cost of at most `allowed`. In µs from the reading.

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
    """The highest total of a session at `until`, in major units. At any power up to `max_power_w`.

    Includes taxes as the tariff names them. Never falls when `until`, the energy or the power rises. The past
    may have had any power. Exact for flat fee, energy and one kind of time without restrictions.
    """
    ahead_us = microseconds(min(max(timedelta(), until - reading.at), LONGEST_SESSION))
    forecast = Forecast(tariff, reading, max_power_w, tz, ahead_us)
    return UP.divide(Decimal(forecast.cost(ahead_us)), Decimal(forecast.scale))


def _scaled(limit: Fraction | None, scale: int) -> int | None:
    return None if limit is None else int(limit * scale)
