"""Bounds a session's cost by a tariff with restrictions, window by window."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache, reduce
from itertools import pairwise
from zoneinfo import ZoneInfo

from app.domain.tariff.model import Dimension, Reading, Restrictions
from app.domain.tariff.rates import Rates
from app.domain.tariff.time_windows import (
    PER_SECOND,
    SCALE,
    Cell,
    Span,
    asks_for_power,
    cells,
    depends_on_time,
    energy_allows,
    microseconds,
)
from app.domain.units.frozen import frozen


@frozen
class Options:
    """The highest prices that may be in force. Whole numbers over the tariff's denominator.

    `flats`: elements whose flat fee may fall due. `energy_surplus` and `time_surplus`: the most that rounding
    up to a step may add, for one step's Wh or seconds.
    """

    energy: int = 0
    time: int = 0
    parking: int = 0
    flats: frozenset[tuple[int, int]] = frozenset()
    energy_surplus: int = 0
    time_surplus: int = 0

    def worse(self, other: "Options") -> "Options":
        """The worst of both."""
        if other is self or other == self:
            return self
        return Options(
            max(self.energy, other.energy),
            max(self.time, other.time),
            max(self.parking, other.parking),
            self.flats | other.flats,
            max(self.energy_surplus, other.energy_surplus),
            max(self.time_surplus, other.time_surplus),
        )


NOTHING = Options()


def worst_of(several: Iterable[Options]) -> Options:
    """The worst of any number."""
    return reduce(Options.worse, several, NOTHING)


def bands_of(rates: Rates) -> list[int]:
    """Returns where bands of energy start, in W x µs. At 0 and at each least or most kWh of an element."""
    thresholds = {
        int(Fraction(each) * 1000 * SCALE)
        for restrictions in rates.restrictions
        for each in (restrictions.min_kwh, restrictions.max_kwh)
        if each is not None
    }
    return sorted({0} | thresholds)


@lru_cache(maxsize=8192)
def options(rates: Rates, active: tuple[int, ...], energy: int, most_power_w: int | None) -> Options:
    """Returns the highest prices that these elements may charge. At an energy (W x µs), up to a power."""
    return _options(rates, active, energy, most_power_w, any_time=False)


def options_at_any_time(rates: Rates, energy: int) -> Options:
    """Returns the highest prices at an energy, at any time. Energy in W x µs."""
    return _options(rates, tuple(range(len(rates.elements))), energy, None, any_time=True)


def is_energy_always_priced(rates: Rates, energy: int) -> bool:
    """Whether energy always has a price here, be it zero. At this energy (W x µs), at any time and power."""
    return any(
        Dimension.ENERGY in each.rates
        and energy_allows(each.restrictions, Fraction(energy, SCALE))
        and not (asks_for_power(each.restrictions) or depends_on_time(each.restrictions))
        for each in rates.elements
    )


def _options(
    rates: Rates, active: tuple[int, ...], energy: int, most_power_w: int | None, *, any_time: bool
) -> Options:
    found: dict[Dimension, list[tuple[int, int, int]]] = {each: [] for each in Dimension}
    settled: set[Dimension] = set()
    for index in active:
        element = rates.elements[index]
        if not energy_allows(element.restrictions, Fraction(energy, SCALE)):
            continue
        if not _power_may_allow(element.restrictions, most_power_w):
            continue
        for dimension, rate in element.rates.items():
            if dimension not in settled:
                found[dimension].append((int(rate.gross * rates.denominator), rate.step, index))
        if not (asks_for_power(element.restrictions) or (any_time and depends_on_time(element.restrictions))):
            settled |= element.rates.keys()
    return _worst(found)


def _worst(found: dict[Dimension, list[tuple[int, int, int]]]) -> Options:
    def highest(dimension: Dimension) -> int:
        return max((number for number, _, _ in found[dimension]), default=0)

    def surplus(*dimensions: Dimension) -> int:
        return max((number * step for each in dimensions for number, step, _ in found[each]), default=0)

    return Options(
        energy=highest(Dimension.ENERGY),
        time=highest(Dimension.TIME),
        parking=highest(Dimension.PARKING_TIME),
        flats=frozenset((index, number) for number, _, index in found[Dimension.FLAT]),
        energy_surplus=surplus(Dimension.ENERGY),
        time_surplus=surplus(Dimension.TIME, Dimension.PARKING_TIME),
    )


def _power_may_allow(restrictions: Restrictions, most_power_w: int | None) -> bool:
    """Whether the power may allow an element. A current is never known here: only a least power above the highest
    possible rules an element out."""
    least = restrictions.min_power_kw
    return most_power_w is None or least is None or Fraction(least) * 1000 <= most_power_w


@frozen
class _Stretch:
    """A part of one cell between two known energies. Both included, in time from the session's start."""

    start_us: int
    end_us: int
    cell: int
    low: int
    high: int


@frozen
class _Mark:
    """A cell's start, and the worst cost between the reading and it. Holds the cost by time with energy and by minutes
    alone, all that may be in force, and the dearest energy of each band."""

    cell: int
    at_us: int
    by_time: int
    minutes: int
    worst: Options
    dearest: tuple[int, ...]


class RestrictedForecast:
    """Two bounds, of which the lower counts. By time, each cell at its dearest; by energy, each band at its dearest.

    The past is taken between its known energies at the dearest prices there. All grow with time, energy and
    power: the energies that a stretch may have always start at the last earlier reading, not at this one.
    """

    def __init__(self, rates: Rates, reading: Reading, span: Span, tz: ZoneInfo, horizon_us: int) -> None:
        self._rates = rates
        self._span = span
        self._past_power_w = reading.past_power_w
        self._power_w = span.power_w if any(map(asks_for_power, rates.restrictions)) else None
        self._bands = bands_of(rates)
        # One µs more, so that a cell that starts at the very end is there with the fee that may fall due.
        end_us = span.past_us + horizon_us + 1
        self._cells = cells(rates.restrictions, reading.since, end_us, tz)
        self._points = _points(reading, span, self._cells)
        self._floor = self._points[-2][1]
        past = self._past_stretches()
        self._past_energy = self._energy_of_past(span.energy)
        self._past_time = self._time_of_past(past)
        self._marks = self._marks_ahead(past)

    def cost(self, until_us: int) -> int:
        """The highest cost `until_us` after the reading, within the horizon."""
        end_us = self._span.past_us + until_us
        before = self._marks[bisect_right(self._marks, end_us, key=lambda mark: mark.at_us) - 1]
        mark = self._through(before, end_us)
        total = self._past_energy + mark.by_time
        if len(self._bands) > 1:
            ahead = self._span.power_w * until_us
            total = min(total, self._by_bands(ahead, mark.dearest) + mark.minutes)
        flat = sum(number for _, number in mark.worst.flats)
        return self._past_time + total + (flat + mark.worst.energy_surplus + mark.worst.time_surplus) * SCALE

    def _marks_ahead(self, past: list[_Stretch]) -> list[_Mark]:
        """Makes a mark at the reading and at each later cell's start."""
        now = self._span.past_us
        first = next(index for index, cell in enumerate(self._cells) if cell.end_us > now)
        worst = worst_of(self._worst(each, future=False) for each in past)
        found = [_Mark(first, now, 0, 0, worst, (0,) * len(self._bands))]
        while found[-1].cell < len(self._cells) - 1:
            found.append(self._through(found[-1], self._cells[found[-1].cell].end_us))
        return found

    def _through(self, mark: _Mark, end_us: int) -> _Mark:
        """Returns what the mark's cell adds up to a time. At its end at the latest."""
        power = self._span.power_w
        high = self._span.energy + power * (end_us - self._span.past_us)
        here = self._worst(_Stretch(mark.at_us, end_us, mark.cell, self._floor, high), future=True)
        charging = here.energy * power + here.time * PER_SECOND
        length = end_us - mark.at_us
        dearest = mark.dearest
        if len(self._bands) > 1:
            energies = (self._option(mark.cell, i, future=True).energy for i in range(len(dearest)))
            dearest = tuple(map(max, dearest, energies))
        return _Mark(
            cell=mark.cell + 1,
            at_us=end_us,
            by_time=mark.by_time + max(charging, here.parking * PER_SECOND) * length,
            minutes=mark.minutes + max(here.time, here.parking) * PER_SECOND * length,
            worst=mark.worst.worse(here),
            dearest=dearest,
        )

    def _by_bands(self, ahead: int, dearest: tuple[int, ...]) -> int:
        """Energy so far and to come, each band at its dearest. The most for any energy so far."""
        low, high = self._floor, self._span.energy
        tries = {high, low, *self._bands, *(band - ahead for band in self._bands)}
        return max(
            self._energy_of_past(energy) + self._filled(energy, energy + ahead, dearest)
            for energy in tries
            if low <= energy <= high
        )

    def _filled(self, low: int, high: int, dearest: tuple[int, ...]) -> int:
        """Prices the energy between two readings, band by band."""
        ends = [*self._bands[1:], max(high, self._bands[-1])]
        return sum(
            max(0, min(high, end) - max(low, start)) * price
            for start, end, price in zip(self._bands, ends, dearest, strict=True)
        )

    def _energy_of_past(self, energy: int) -> int:
        """Prices the past energy at its dearest. Had it been `energy`, between each two known points."""
        total = 0
        for (start, low), (end, high) in pairwise(self._points):
            touched = [i for i, each in enumerate(self._cells) if _within(each, start, end)]
            flowed = min(self._high(high), energy) - low
            if len(self._bands) == 1 and flowed > 0:
                total += self._dearest_first(flowed, start, end, touched)
                continue
            dearest = tuple(
                max(self._option(i, band, future=False).energy for i in touched)
                for band in range(len(self._bands))
            )
            total += self._filled(low, low + flowed, dearest)
        return total

    def _dearest_first(self, flowed: int, start: int, end: int, touched: list[int]) -> int:
        """Places energy between two points into the dearest cells first. In each as much as the power allows."""
        priced = sorted(((self._option(i, 0, future=False).energy, i) for i in touched), reverse=True)
        if self._past_power_w is None or len(priced) == 1:
            return flowed * priced[0][0]
        total, left = 0, flowed
        for price, i in priced:
            length_us = min(end, self._cells[i].end_us) - max(start, self._cells[i].start_us)
            here = min(left, self._past_power_w * max(0, length_us))
            total += here * price
            left -= here
        return total + left * priced[0][0]

    def _time_of_past(self, past: list[_Stretch]) -> int:
        """Prices the past minutes at their dearest. Charging, but parked where that is dearest, for as long as it may
        have been."""
        left, total = self._span.parked_us, 0
        gains: list[tuple[int, int]] = []
        for each in past:
            here, length = self._worst(each, future=False), each.end_us - each.start_us
            total += here.time * PER_SECOND * length
            gains.append((max(0, here.parking - here.time) * PER_SECOND, length))
        for gain, length in sorted(gains, reverse=True):
            total += gain * min(left, length)
            left -= min(left, length)
        return total

    def _past_stretches(self) -> list[_Stretch]:
        return [
            _Stretch(max(start, cell.start_us), min(end, cell.end_us), index, low, self._high(high))
            for (start, low), (end, high) in pairwise(self._points)
            for index, cell in enumerate(self._cells)
            if _within(cell, start, end)
        ]

    def _high(self, energy: int) -> int:
        """Returns the highest true energy behind a shown one."""
        return min(energy + self._span.error, self._span.energy)

    def _worst(self, stretch: _Stretch, *, future: bool) -> Options:
        first = bisect_right(self._bands, stretch.low) - 1
        last = bisect_right(self._bands, stretch.high)
        if last - first == 1:
            return self._option(stretch.cell, first, future=future)
        return worst_of(self._option(stretch.cell, band, future=future) for band in range(first, last))

    def _option(self, cell: int, band: int, *, future: bool) -> Options:
        power_w = self._power_w if future else None
        return options(self._rates, self._cells[cell].active, self._bands[band], power_w)


def _within(cell: Cell, start_us: int, end_us: int) -> bool:
    """Whether a stretch has a moment in the cell. One of no length has its own moment."""
    return cell.start_us < max(end_us, start_us + 1) and cell.end_us > start_us


def _points(reading: Reading, span: Span, found: list[Cell]) -> list[tuple[int, int]]:
    """Returns start, earlier readings and the reading as points. In µs since the start and energy. Those out of order
    are left out.

    So are earlier readings amid one cell: they would add nothing but their error.
    """
    points, end = [(0, 0)], (span.past_us, span.energy)
    if len(found) == 1 or not reading.earlier:
        return [*points, end]
    since, cuts = reading.since, [cell.start_us for cell in found[1:]]
    earlier = [(microseconds(each.at - since), each.energy_wh * SCALE) for each in reading.earlier]
    for point, following in pairwise([*earlier, end]):
        start_us = points[-1][0]
        fits = start_us <= point[0] <= span.past_us and points[-1][1] <= point[1] <= span.energy
        if fits and bisect_right(cuts, start_us) < bisect_left(cuts, following[0]):
            points.append(point)
    return [*points, end]
