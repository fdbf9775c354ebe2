"""Keeps a charge's last meter readings, and derives sampling and power."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TypeAlias

from app.domain.tariff import MeterPoint
from app.domain.units.frozen import frozen

RECENT, SPACED, OLDER = 6, 7, 40
"""Points kept as they came. Older ones, one in SPACED_US; the first and last of each hour, for prices by time."""
SPACED_US = 40_000_000
ROUNDING_WH = 10
"""Two readings with two decimals of a kWh may each be off by half of the last one."""
BLOCK_WH, BLOCK_US = 250, 50_000_000
"""Power is measured over at least this energy or time, so that rounding blurs it less."""
WINDOW_WH, WINDOW_US = 2000, 900_000_000
"""A steady power is measured over this energy or time where available. Rounding is 1 % of it."""
RAMP_S = 20
"""Energy of this many seconds at the present power must have flowed before. Until then the car ramps up."""
STEADY = 1.01
"""Factor by which a steady power may rise until the next reading."""
JUMP = 1.25
"""A rise by more than this factor is no charging curve but a shared charger."""
DROP = 0.7
"""A fall below this factor may be undone at any moment: throttled or paused, not only a fuller battery."""
DROP_BLOCKS = 2
"""Number of readings for which a fallen power is expected to return."""
STEPS_WH = 1000
_HOUR_US, _S_US, _MS_US = 3_600_000_000, 1_000_000, 1_000
_US = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@frozen(kw_only=True)
class MeterHistory:
    """What one charge's readings show. Derived once at each new reading, so that decisions are cheap."""

    points: tuple[MeterPoint, ...] = ()
    """Ascending in time and energy."""
    first_at: datetime | None = None
    """The time of the first reading."""
    interval_ms: int | None = None
    """The meter's reporting interval. None: not known, or it reports by steps of energy."""
    step_wh: int | None = None
    """The meter's step of energy; None: not known."""
    estimated_max_w: int | None = None
    """The estimated maximum power of car and charger until the next reading. None: not known."""
    peak_w: int = 0
    """The highest power after the ramp, over at least BLOCK_WH."""
    jumped: bool = False
    """The power rose as only a shared charger's does."""
    blocks_until_drop_counts: int = 0
    """Number of further blocks for which the power may return to `before_drop_w`."""
    before_drop_w: int = 0
    """The power before the drop."""
    idle_ms: int = 0
    """The longest time without energy up to the newest point, if it flowed as in the block before."""


def with_readings(
    meter_history: MeterHistory, readings: Iterable[MeterPoint], *, by_the_hour: bool = False
) -> MeterHistory:
    """Adds readings, one after the other: each energy had been reached at its time. A reading without news, or one that
    contradicts the others, changes nothing. `by_the_hour`: keep the points that prices by time of day need."""
    numbers = ((_us_of(reading.at), reading.energy_wh) for reading in readings)
    return with_numbers(meter_history, numbers, by_the_hour=by_the_hour)


def with_numbers(
    meter_history: MeterHistory, readings: Iterable[tuple[int, int]], *, by_the_hour: bool = False
) -> MeterHistory:
    """As `with_readings`, of microseconds since 1970 and Wh."""
    adding = _Adding(meter_history, by_the_hour=by_the_hour)
    changes = [adding.add(us, wh) for us, wh in readings]
    return adding.done() if any(changes) else meter_history


def _us_of(at: datetime) -> int:
    return (at - _EPOCH) // _US


def _point(us: int, wh: int) -> MeterPoint:
    return MeterPoint(at=_EPOCH + us * _US, energy_wh=wh)


_Block: TypeAlias = tuple[float, float, float]
"""Of a stretch between two readings the least, the average and the highest power, in W."""


class _Adding:
    """A history while readings are added. Its points are numbers, since many readings come at once."""

    def __init__(self, known: MeterHistory, *, by_the_hour: bool) -> None:
        self._by_the_hour = by_the_hour
        self._us = [_us_of(point.at) for point in known.points]
        self._wh = [point.energy_wh for point in known.points]
        self._first_at = known.first_at
        self._interval_ms = known.interval_ms
        self._last_times: list[list[int]] = []
        """After each reading the times that the interval is derived from. The last one that gives one counts."""
        self._step_wh = known.step_wh
        self._estimated_max_w = known.estimated_max_w
        self._peak_w = known.peak_w
        self._jumped = known.jumped
        self._blocks_until_drop_counts = known.blocks_until_drop_counts
        self._before_drop_w = known.before_drop_w
        self._idle_ms = known.idle_ms

    def done(self) -> MeterHistory:
        intervals = map(_interval_ms, reversed(self._last_times))
        return MeterHistory(
            points=tuple(map(_point, self._us, self._wh)),
            first_at=self._first_at,
            interval_ms=next((each for each in intervals if each is not None), self._interval_ms),
            step_wh=self._step_wh,
            estimated_max_w=self._estimated_max_w,
            peak_w=self._peak_w,
            jumped=self._jumped,
            blocks_until_drop_counts=self._blocks_until_drop_counts,
            before_drop_w=self._before_drop_w,
            idle_ms=self._idle_ms,
        )

    def add(self, us: int, wh: int) -> bool:
        """Returns whether the reading changed anything."""
        place = self._insert(us, wh)
        if place is None:
            return False
        is_newest = place == len(self._us) - 1
        self._step_wh = _step_wh(self._wh)
        if self._step_wh:
            self._interval_ms, self._last_times = None, []
        else:
            self._last_times.append(self._us[-9:])
        at = _point(us, wh).at if self._first_at is None or not place else self._first_at
        self._first_at = at if self._first_at is None else min(at, self._first_at)
        if is_newest:
            self._idle_ms += self._newest_idle_ms()
        self._thin(place)
        if is_newest:
            self._learn_power()
        return True

    def _insert(self, us: int, wh: int) -> int | None:
        """Inserts a point where time and energy both rise. Returns its place. One of the same energy counts from its
        earliest time."""
        place = bisect_left(self._wh, wh)
        is_last = place == len(self._wh)
        if (place and self._us[place - 1] >= us) or (not is_last and us >= self._us[place]):
            return None
        replaced = slice(place, place + (not is_last and self._wh[place] == wh))
        self._us[replaced], self._wh[replaced] = [us], [wh]
        return place

    def _thin(self, changed: int) -> None:
        """Thins the older points. Those before the changed one are thinned, but for the one that became older."""
        times, older = self._us, len(self._us) - RECENT
        if self._by_the_hour:
            slots = [us // SPACED_US for us in times[: max(0, older)]]
            spaced = [n for n, slot in enumerate(slots) if not n or slot != slots[n - 1]][-SPACED:]
            kept = {*spaced, *_of_each_hour(times[: max(0, older)])}
            dropped = [n for n in range(older) if n not in kept]
        else:
            dropped = []
            for n in range(max(1, min(changed, older - 1)), older):
                if times[n] // SPACED_US == times[n - 1] // SPACED_US:
                    dropped.append(n)
            if older - len(dropped) > SPACED:
                dropped = [*range(older - len(dropped) - SPACED), *dropped]
        for n in reversed(dropped):
            del times[n], self._wh[n]

    def _newest_idle_ms(self) -> int:
        """Returns the part of the newest gap that may have been idle. All of the first ones."""
        if len(self._us) < 2:
            return 0
        gap_ms = (self._us[-1] - self._us[-2]) // _MS_US
        if not self._estimated_max_w:
            return gap_ms
        risen_wh = self._wh[-1] - self._wh[-2] + ROUNDING_WH
        return max(0, gap_ms - risen_wh * 3_600_000 // self._estimated_max_w)

    def _learn_power(self) -> None:
        """Derives power from the newest readings; nothing is learned on the ramp."""
        newest = len(self._us) - 1
        start = self._back(newest, BLOCK_WH, BLOCK_US)
        if start is None:
            return
        now, before = self._block(start, newest), self._estimated_max_w
        low_w, mean_w, high_w = now
        if self._wh[start] * 3600 < mean_w * RAMP_S:
            return
        self._jumped = self._jumped or (self._peak_w > 0 and low_w > JUMP * self._peak_w)
        if before is not None and (high_w < DROP * before or low_w > JUMP * before):
            self._before_drop_w = max(before, self._before_drop_w if self._blocks_until_drop_counts else 0)
            self._blocks_until_drop_counts = DROP_BLOCKS
        else:
            self._blocks_until_drop_counts = max(0, self._blocks_until_drop_counts - 1)
        self._peak_w = max(self._peak_w, self._peak_now_w(newest))
        self._estimated_max_w = self._steady_w(start, now)

    def _peak_now_w(self, newest: int) -> int:
        """The power over at least BLOCK_WH, whatever time they took. 0: not known, or still the ramp.

        Less energy says nothing about what the car can take: it may wait, or warm its battery.
        """
        start = bisect_right(self._wh, self._wh[newest] - BLOCK_WH) - 1
        if start < 0:
            return 0
        _, mean_w, _ = self._block(start, newest)
        return int(mean_w) + 1 if self._wh[start] * 3600 >= mean_w * RAMP_S else 0

    def _steady_w(self, start: int, now: _Block) -> int:
        """The steady power over a long window. The last block's where it differs, and a rise goes on."""
        low_w, mean_w, high_w = now
        newest = len(self._us) - 1
        reach = self._back(newest, WINDOW_WH, WINDOW_US)
        window = 0 if reach is None else min(reach, start)
        while window < start and self._wh[window] * 3600 < mean_w * RAMP_S:
            window += 1
        steady_low_w, _, steady_high_w = self._block(window, newest)
        power_w = steady_high_w if low_w <= steady_high_w and high_w >= steady_low_w else high_w
        earlier = self._back(start, BLOCK_WH, BLOCK_US)
        if earlier is not None and self._wh[earlier] * 3600 >= mean_w * RAMP_S:
            _, mean_before_w, high_before_w = self._block(earlier, start)
            if low_w > high_before_w:
                power_w = max(power_w, high_w) + 1.5 * (mean_w - mean_before_w)
        return int(power_w * STEADY) + 1

    def _block(self, start: int, end: int) -> _Block:
        seconds = (self._us[end] - self._us[start]) / _S_US
        risen = self._wh[end] - self._wh[start]
        return (
            max(0, risen - ROUNDING_WH) * 3600 / seconds,
            risen * 3600 / seconds,
            (risen + ROUNDING_WH) * 3600 / seconds,
        )

    def _back(self, end: int, least_wh: int, least_us: int) -> int | None:
        """Finds the newest point at least this energy or time before `end`. None: the history is too short."""
        by_time = bisect_right(self._us, self._us[end] - least_us)
        by_energy = bisect_right(self._wh, self._wh[end] - least_wh)
        return max(by_time, by_energy) - 1 if by_time or by_energy else None


def _of_each_hour(us: list[int]) -> list[int]:
    """Returns the places of the very first reading, and of each hour's first and last."""
    hours = [each // _HOUR_US for each in us]
    found = [
        n
        for n in range(len(us))
        if n in (0, len(us) - 1) or hours[n - 1] != hours[n] or hours[n] != hours[n + 1]
    ]
    return found[-OLDER:]


def _step_wh(energies: list[int]) -> int | None:
    """The step of a meter that has only ever shown whole kWh. It reports each kWh, not each minute."""
    if energies[-1] % STEPS_WH:
        return None
    shown = [wh for wh in energies if wh]
    return STEPS_WH if shown and not any(wh % STEPS_WH for wh in shown) else None


def _interval_ms(times_us: list[int]) -> int | None:
    """The time between samples, when all times are near multiples of one. Some samples may have been lost."""
    if len(times_us) < 3 or times_us[-1] - times_us[-2] < 2 * _S_US:
        return None
    gaps = [later - one for one, later in pairwise(times_us)]
    least, count = min(gaps), 0
    if least < 2 * _S_US:
        return None
    for gap in gaps:
        n = round(gap / least)
        if abs(gap - n * least) > 0.15 * least:
            return None
        count += n
    return round(sum(gaps) / (_MS_US * count))
