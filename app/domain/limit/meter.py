"""Keeps a charge's last meter readings, and derives sampling and power."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from app.domain.tariff import MeterPoint

RECENT, SPACED, OLDER = 6, 7, 40
"""Points kept as they came. Older ones, one in SPACED_S; the first and last of each hour, for prices by time."""
SPACED_S = 40
ROUNDING_WH = 10
"""Two readings with two decimals of a kWh may each be off by half of the last one."""
BLOCK_WH, BLOCK_S = 250, 50.0
"""Power is measured over at least this energy or time, so that rounding blurs it less."""
WINDOW_WH, WINDOW_S = 2000, 900.0
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
_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
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
    """The highest power after the ramp."""
    jumped: bool = False
    """The power rose as only a shared charger's does."""
    blocks_until_drop_counts: int = 0
    """Number of further blocks for which the power may return to `before_drop_w`."""
    before_drop_w: int = 0
    """The power before the drop."""
    idle_ms: int = 0
    """The longest time without energy up to the newest point, if it flowed as in the block before."""


def with_reading(
    meter_history: MeterHistory, at: datetime, energy_wh: int, *, by_the_hour: bool = False
) -> MeterHistory:
    """Adds a reading: `energy_wh` had been reached at `at`. A reading without news, or one that contradicts the others,
    changes nothing. `by_the_hour`: keep the points that prices by time of day need."""
    points = _inserted(meter_history.points, MeterPoint(at=at, energy_wh=energy_wh))
    if points is meter_history.points:
        return meter_history
    newest = points[-1].at == at
    steps = _step_wh(points)
    interval_ms = None if steps else _interval_ms(points[-9:])
    if interval_ms is None and not steps:
        interval_ms = meter_history.interval_ms
    known = MeterHistory(
        points=_thinned(points, by_the_hour=by_the_hour),
        first_at=at if meter_history.first_at is None else min(at, meter_history.first_at),
        interval_ms=interval_ms,
        step_wh=steps,
        estimated_max_w=meter_history.estimated_max_w,
        peak_w=meter_history.peak_w,
        jumped=meter_history.jumped,
        blocks_until_drop_counts=meter_history.blocks_until_drop_counts,
        before_drop_w=meter_history.before_drop_w,
        idle_ms=meter_history.idle_ms + (_idle_ms(points, meter_history.estimated_max_w) if newest else 0),
    )
    return _with_power(known) if newest else known


def _inserted(points: tuple[MeterPoint, ...], new: MeterPoint) -> tuple[MeterPoint, ...]:
    if not points or (new.at > points[-1].at and new.energy_wh > points[-1].energy_wh):
        return (*points, new)
    for index, point in enumerate(points):
        if new.energy_wh <= point.energy_wh:
            earlier = points[:index]
            if new.energy_wh == point.energy_wh:
                if new.at >= point.at or (earlier and earlier[-1].at >= new.at):
                    return points
                return (*earlier, new, *points[index + 1 :])
            if new.at >= point.at or (earlier and earlier[-1].at >= new.at):
                return points
            return (*earlier, new, *points[index:])
    return points


def _thinned(points: tuple[MeterPoint, ...], *, by_the_hour: bool) -> tuple[MeterPoint, ...]:
    if len(points) <= RECENT:
        return points
    older = points[:-RECENT]
    spaced: list[MeterPoint] = []
    before = None
    for point in older:
        slot = point.at.timestamp() // SPACED_S
        if slot != before:
            spaced.append(point)
        before = slot
    kept = spaced[-SPACED:]
    if not by_the_hour:
        return (*kept, *points[-RECENT:])
    return (*sorted({*kept, *_of_each_hour(older)}, key=lambda point: point.at), *points[-RECENT:])


def _of_each_hour(points: tuple[MeterPoint, ...]) -> list[MeterPoint]:
    """Keeps the very first reading, and each hour's first and last."""
    hours = [point.at.replace(minute=0, second=0, microsecond=0) for point in points]
    found = [
        point
        for index, point in enumerate(points)
        if index in (0, len(points) - 1)
        or hours[index - 1] != hours[index]
        or hours[index] != hours[index + 1]
    ]
    return found[-OLDER:]


def _idle_ms(points: tuple[MeterPoint, ...], estimated_max_w: int | None) -> int:
    """Returns the part of the newest gap that may have been idle. All of the first ones."""
    if len(points) < 2:
        return 0
    gap_ms = (points[-1].at - points[-2].at) // _MS
    if not estimated_max_w:
        return gap_ms
    risen_wh = points[-1].energy_wh - points[-2].energy_wh + ROUNDING_WH
    return max(0, gap_ms - risen_wh * 3_600_000 // estimated_max_w)


def _step_wh(points: tuple[MeterPoint, ...]) -> int | None:
    """The step of a meter that has only ever shown whole kWh. It reports each kWh, not each minute."""
    if points[-1].energy_wh % STEPS_WH:
        return None
    shown = [point.energy_wh for point in points if point.energy_wh]
    return STEPS_WH if shown and not any(wh % STEPS_WH for wh in shown) else None


def _interval_ms(points: tuple[MeterPoint, ...]) -> int | None:
    """The time between samples, when all times are near multiples of one. Some samples may have been lost."""
    gaps = [(later.at - one.at).total_seconds() for one, later in pairwise(points)]
    if len(gaps) < 2:
        return None
    least, count = min(gaps), 0
    if least < 2:
        return None
    for gap in gaps:
        n = round(gap / least)
        if abs(gap - n * least) > 0.15 * least:
            return None
        count += n
    return round(1000 * sum(gaps) / count)


@dataclass(frozen=True, slots=True)
class _Block:
    """A stretch between two readings, with its least, highest and average power."""

    low_w: float
    mean_w: float
    high_w: float


def _block(start: MeterPoint, end: MeterPoint) -> _Block:
    seconds = (end.at - start.at).total_seconds()
    risen = end.energy_wh - start.energy_wh
    return _Block(
        max(0, risen - ROUNDING_WH) * 3600 / seconds,
        risen * 3600 / seconds,
        (risen + ROUNDING_WH) * 3600 / seconds,
    )


def _back(points: tuple[MeterPoint, ...], end: int, least_wh: int, least_s: float) -> int | None:
    """Finds the newest point at least this energy or time before `end`. None: the history is too short."""
    most_wh, latest = points[end].energy_wh - least_wh, points[end].at - timedelta(seconds=least_s)
    for index in range(end - 1, -1, -1):
        point = points[index]
        if point.energy_wh <= most_wh or point.at <= latest:
            return index
    return None


def _with_power(meter_history: MeterHistory) -> MeterHistory:
    """Derives power from the newest readings; nothing is learned on the ramp."""
    points = meter_history.points
    start = _back(points, len(points) - 1, BLOCK_WH, BLOCK_S)
    if start is None:
        return meter_history
    now = _block(points[start], points[-1])
    if points[start].energy_wh * 3600 < now.mean_w * RAMP_S:
        return meter_history
    before = meter_history.estimated_max_w
    jumped = meter_history.jumped or (meter_history.peak_w > 0 and now.low_w > JUMP * meter_history.peak_w)
    changed = before is not None and (now.high_w < DROP * before or now.low_w > JUMP * before)
    blocks_until_drop_counts = DROP_BLOCKS if changed else max(0, meter_history.blocks_until_drop_counts - 1)
    peak_w = max(meter_history.peak_w, int(now.mean_w) + 1)
    return MeterHistory(
        points=points,
        first_at=meter_history.first_at,
        interval_ms=meter_history.interval_ms,
        step_wh=meter_history.step_wh,
        idle_ms=meter_history.idle_ms,
        estimated_max_w=_estimated_max_w(points, start, now),
        peak_w=peak_w,
        jumped=jumped,
        blocks_until_drop_counts=blocks_until_drop_counts,
        before_drop_w=max(
            before or 0, meter_history.before_drop_w if meter_history.blocks_until_drop_counts else 0
        )
        if changed
        else meter_history.before_drop_w,
    )


def _estimated_max_w(points: tuple[MeterPoint, ...], start: int, now: _Block) -> int:
    """The steady power over a long window. The last block's where it differs, and a rise goes on."""
    reach = _back(points, len(points) - 1, WINDOW_WH, WINDOW_S)
    window = 0 if reach is None else min(reach, start)
    while window < start and points[window].energy_wh * 3600 < now.mean_w * RAMP_S:
        window += 1
    steady = _block(points[window], points[-1])
    power = steady.high_w if now.low_w <= steady.high_w and now.high_w >= steady.low_w else now.high_w
    earlier = _back(points, start, BLOCK_WH, BLOCK_S)
    if earlier is not None and points[earlier].energy_wh * 3600 >= now.mean_w * RAMP_S:
        before = _block(points[earlier], points[start])
        if now.low_w > before.high_w:
            power = max(power, now.high_w) + 1.5 * (now.mean_w - before.mean_w)
    return int(power * STEADY) + 1
