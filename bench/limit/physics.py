"""The physics of one session: its power over time, its cost, its meter's readings."""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from random import Random

from app.domain.tariff.model import Dimension
from app.domain.tariff.rates import Rate, rates_of
from app.simulator.site.vehicles import PowerCurve
from bench.limit.visits import BERLIN, Visit

NEVER = float("inf")


@dataclass(frozen=True)
class _Leg:
    """One stretch of charging: from `start_s` the car follows its curve from `stored_wh`; `before_wh` had flowed
    before."""

    start_s: float
    curve: PowerCurve
    stored_wh: float
    before_wh: float


class Course:
    """Energy over time if the charge is not stopped; a shared charger gives little until it suddenly gives all."""

    def __init__(self, visit: Visit, chance: Random) -> None:
        point, car = visit.point, visit.vehicle
        self.ramp_s = point.ramp_s
        stored = visit.stored_share * car.battery_wh
        self.room_wh = car.battery_wh - stored
        full = car.curve(point.rated_w, direct_current=point.dc)
        self._legs = [_Leg(0.0, full, stored, 0.0)]
        if point.shared:
            share = chance.choice((0.25, 0.35, 0.5))
            scarce = car.curve(int(point.rated_w * share), direct_current=point.dc)
            self._legs = [_Leg(0.0, scarce, stored, 0.0)]
            at_s, rich = 0.0, False
            for _ in range(chance.randrange(1, 5)):
                at_s += chance.uniform(200, 4000)
                rich = not rich
                flowed = self.energy_wh(at_s)
                self._legs.append(_Leg(at_s, full if rich else scarce, stored + flowed, flowed))

    def energy_wh(self, at_s: float) -> float:
        leg = (
            self._legs[bisect_right(self._legs, at_s, key=lambda each: each.start_s) - 1]
            if at_s > 0
            else self._legs[0]
        )
        effective_s = at_s - leg.start_s
        if leg.start_s == 0:
            effective_s = at_s * at_s / (2 * self.ramp_s) if at_s < self.ramp_s else at_s - self.ramp_s / 2
        return leg.before_wh + leg.curve.energy_after(leg.stored_wh, effective_s / 3600) - leg.stored_wh

    def time_of(self, energy_wh: float) -> float:
        """When that much energy has flowed; NEVER when the car is full before."""
        if energy_wh > self.room_wh - 1:
            return NEVER
        return first_time(lambda at_s: self.energy_wh(at_s) >= energy_wh)


def first_time(reached: Callable[[float], bool], low: float = 0.0, high: float = 260_000.0) -> float:
    """When something that stays true becomes true, to a millisecond; NEVER when not within three days."""
    step = low + 600
    while step < high and not reached(step):
        low, step = step, low + (step - low) * 2
    if step >= high:
        return NEVER
    high = step
    while high - low > 0.001:
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


class Cost:
    """The session's cost at any time, in minor units, by the tariff's own rates; exact to a float's rounding."""

    def __init__(self, visit: Visit, course: Course) -> None:
        self._course = course
        rates = rates_of(visit.tariff)
        last = rates.elements[-1].rates
        self.fee = _minor(last, Dimension.FLAT)
        self.minute_s = _minor(last, Dimension.TIME)
        self.parking_s = _minor(last, Dimension.PARKING_TIME)
        self.prices = [_minor(each.rates, Dimension.ENERGY) for each in rates.elements]
        self._cuts = _night_cuts(visit) if len(self.prices) > 1 else [(0.0, self.prices[0])]
        self._bases = self._summed()

    def at(self, at_s: float) -> float:
        """The cost if the charge ended then."""
        index = bisect_right(self._cuts, at_s, key=lambda each: each[0]) - 1
        energy = self._course.energy_wh(at_s)
        spent = self._bases[index][0] + (energy - self._bases[index][1]) * self._cuts[index][1]
        return self.fee + spent + self.minute_s * at_s

    def rate(self, at_s: float) -> float:
        """The price of one Wh at that time."""
        return self._cuts[bisect_right(self._cuts, at_s, key=lambda each: each[0]) - 1][1]

    def _summed(self) -> list[tuple[float, float]]:
        bases = [(0.0, 0.0)]
        for (_, price), (end_s, _) in zip(self._cuts, self._cuts[1:], strict=False):
            energy = self._course.energy_wh(end_s)
            bases.append((bases[-1][0] + (energy - bases[-1][1]) * price, energy))
        return bases


def _minor(rates: Mapping[Dimension, Rate], dimension: Dimension) -> float:
    return float(rates[dimension].gross * 100) if dimension in rates else 0.0


def _night_cuts(visit: Visit) -> list[tuple[float, float]]:
    """Night prices from 21:00 to 07:00 local time: (start in seconds, minor units a Wh)."""
    elements = rates_of(visit.tariff).elements
    night, day = (float(Fraction(e.rates[Dimension.ENERGY].gross) * 100) for e in elements)
    cuts: list[tuple[float, float]] = []
    for hour in range(72):
        local = visit.starts_at.astimezone(BERLIN).replace(minute=0, second=0, microsecond=0)
        at = visit.starts_at + timedelta(hours=hour) - (visit.starts_at.astimezone(BERLIN) - local)
        wall = at.astimezone(BERLIN).hour
        price = night if wall >= 21 or wall < 7 else day
        if not cuts or price != cuts[-1][1]:
            cuts.append((max(0.0, (at - visit.starts_at).total_seconds()), price))
    return cuts


def samples(visit: Visit, course: Course, until_s: float, chance: Random) -> list[float]:
    """The meter's readings up to a time: at an interval, or at each whole kWh."""
    if visit.point.meter == "kwh":
        found, step = [], 1000.0
        while (at_s := course.time_of(step)) < until_s:
            found.append(at_s + 0.001)
            step += 1000
        return found
    interval = float(visit.point.meter)
    first = chance.uniform(0.2, 1.0) * interval
    return [first + interval * i for i in range(int(max(0, until_s - first) // interval) + 1)]
