"""Cuts a session where a tariff's time restrictions change."""

from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from app.domain.tariff.model import Reading, Restrictions, Tariff
from app.domain.units.frozen import frozen

MICROSECOND = timedelta(microseconds=1)
MIDNIGHT = time()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@frozen
class Cell:
    """A stretch of a session, and the elements that its times allow. In µs since the session's start; elements by
    index."""

    start_us: int
    end_us: int
    active: tuple[int, ...]


def microseconds(length: timedelta) -> int:
    """A length of time as a whole number of µs, exact."""
    return length // MICROSECOND


def cells(elements: tuple[Restrictions, ...], started_at: datetime, end_us: int, tz: ZoneInfo) -> list[Cell]:
    """Cuts a session where an element may start or end by time. From its start to `end_us`.

    Always at least one cell; day, date and hour are those of `tz`, also over changes of its offset.
    """
    started_at = started_at.astimezone(UTC)
    if not any(depends_on_time(each) for each in elements):
        return [Cell(0, end_us, tuple(range(len(elements))))]
    cuts = sorted({0, *_cuts(elements, started_at, end_us, tz)})
    found: list[Cell] = []
    for start, end in zip(cuts, [*cuts[1:], end_us], strict=True):
        local = (started_at + start * MICROSECOND).astimezone(tz)
        active = tuple(i for i, each in enumerate(elements) if _active(each, start, local))
        if found and found[-1].active == active:
            found[-1] = Cell(found[-1].start_us, end, active)
        else:
            found.append(Cell(start, end, active))
    return found


def energy_allows(restrictions: Restrictions, energy_wh: Fraction) -> bool:
    """Whether this energy lies within an element's restriction. From the least on, below the most."""
    least, most = restrictions.min_kwh, restrictions.max_kwh
    return (least is None or energy_wh >= Fraction(least) * 1000) and (
        most is None or energy_wh < Fraction(most) * 1000
    )


def power_allows(restrictions: Restrictions, power_w: Fraction, current_a: Fraction) -> bool:
    """Whether power and current lie within an element's restrictions. From the least on, below the most."""
    bounds = (
        (power_w / 1000, restrictions.min_power_kw, restrictions.max_power_kw),
        (current_a, restrictions.min_current_a, restrictions.max_current_a),
    )
    return all(
        (least is None or value >= Fraction(least)) and (most is None or value < Fraction(most))
        for value, least, most in bounds
    )


def asks_for_power(restrictions: Restrictions) -> bool:
    """Whether the element depends on the power or current of the moment."""
    return any(
        each is not None
        for each in (
            restrictions.min_power_kw,
            restrictions.max_power_kw,
            restrictions.min_current_a,
            restrictions.max_current_a,
        )
    )


def _by_calendar(restrictions: Restrictions) -> bool:
    return bool(
        restrictions.weekdays
        or restrictions.start_date
        or restrictions.end_date
        or restrictions.start_time is not None
        or restrictions.end_time is not None
    )


def depends_on_time(restrictions: Restrictions) -> bool:
    """Whether an element depends on clock, calendar or the session's length."""
    return (
        _by_calendar(restrictions)
        or restrictions.min_duration_s is not None
        or restrictions.max_duration_s is not None
    )


def _active(restrictions: Restrictions, at_us: int, local: datetime) -> bool:
    least, most = restrictions.min_duration_s, restrictions.max_duration_s
    if least is not None and at_us < least * 1_000_000:
        return False
    if most is not None and at_us >= most * 1_000_000:
        return False
    return not _by_calendar(restrictions) or _in_calendar(restrictions, local)


def _in_calendar(restrictions: Restrictions, local: datetime) -> bool:
    """Checks each calendar restriction by itself. After midnight a night window counts as of the day that has begun."""
    day = local.date()
    if restrictions.weekdays and day.weekday() not in restrictions.weekdays:
        return False
    if restrictions.start_date is not None and day < restrictions.start_date:
        return False
    if restrictions.end_date is not None and day >= restrictions.end_date:
        return False
    start, end = restrictions.start_time or MIDNIGHT, restrictions.end_time or MIDNIGHT
    now = local.time()
    if start < end:
        return start <= now < end
    return now >= start or now < end


def _cuts(elements: tuple[Restrictions, ...], started_at: datetime, end_us: int, tz: ZoneInfo) -> list[int]:
    durations = {
        seconds * 1_000_000
        for each in elements
        for seconds in (each.min_duration_s, each.max_duration_s)
        if seconds is not None
    }
    hours = frozenset(
        hour
        for each in elements
        if _by_calendar(each)
        for hour in (each.start_time or MIDNIGHT, each.end_time or MIDNIGHT, MIDNIGHT)
    )
    clock = _clock_cuts(hours, started_at, end_us, tz) if hours else set()
    return [cut for cut in durations | clock if 0 < cut < end_us]


def _clock_cuts(hours: frozenset[time], started_at: datetime, end_us: int, tz: ZoneInfo) -> set[int]:
    """Returns when a wall clock shows the hours, or changes its offset."""
    day = started_at.astimezone(tz).date()
    last = (started_at + end_us * MICROSECOND).astimezone(tz).date()
    start_us, found = microseconds(started_at - EPOCH), set()
    while day <= last:
        found.update([instant_us - start_us for instant_us in _instants(day, hours, tz)])
        day += DAY
    return found


@lru_cache(maxsize=4096)
def _instants(day: date, hours: frozenset[time], tz: ZoneInfo) -> tuple[int, ...]:
    """Returns when one day's wall clock shows the hours. Twice where it is set back, and when the offset changes, in µs
    since 1970. Sessions share their days."""
    shown = {
        datetime.combine(day, hour, tz).replace(fold=fold).astimezone(UTC)
        for hour in hours
        for fold in (0, 1)
    }
    ends = {datetime.combine(each, MIDNIGHT, tz).astimezone(UTC) for each in (day, day + DAY)}
    changes = {
        _offset_change(before, after, tz)
        for before, after in pairwise(sorted(shown | ends))
        if before.astimezone(tz).utcoffset() != after.astimezone(tz).utcoffset()
    }
    return tuple(microseconds(instant - EPOCH) for instant in shown | changes)


def _offset_change(before: datetime, after: datetime, tz: ZoneInfo) -> datetime:
    """Finds the first second with the new offset. By halving at most a few days."""
    low, high = before, after
    old = before.astimezone(tz).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        low, high = (middle, high) if middle.astimezone(tz).utcoffset() == old else (low, middle)
    # Offsets change on whole seconds; `high` is less than one second late.
    return high.replace(microsecond=0) if high.microsecond else high


SCALE = 3_600_000_000
"""W x µs in a Wh. Costs are counted in units of one over the tariff's denominator times this."""
PER_SECOND = 3600
"""SCALE for a price by the second and a time in µs."""


@frozen
class Span:
    """A session's past: length, energy and idle time at most. Energy with its error. Its power from now on."""

    past_us: int
    energy: int
    error: int
    parked_us: int
    power_w: int


def span_of(reading: Reading, max_power_w: int) -> Span:
    """The past as the reading knows it."""
    past_us = microseconds(reading.at - reading.since)
    parked = reading.parked_at_most_s
    return Span(
        past_us=past_us,
        energy=(reading.energy_wh + reading.meter_error_wh) * SCALE,
        error=reading.meter_error_wh * SCALE,
        parked_us=past_us if parked is None else min(past_us, parked * 1_000_000),
        power_w=max(0, max_power_w),
    )


def in_force(tariff: Tariff, at: datetime) -> bool:
    """Whether the tariff prices a session that begins at this moment."""
    return out_of_force(tariff, at) is None


def out_of_force(tariff: Tariff, at: datetime) -> str | None:
    """Why the tariff prices nothing at this moment, in words; None: it does."""
    start, end = tariff.start_date_time, tariff.end_date_time
    if start is not None and end is not None and end <= start:
        return "it ends before it begins"
    if end is not None and at >= end:
        return f"it ended at {end:%Y-%m-%d %H:%M} UTC"
    if start is not None and at < start:
        return f"it begins at {start:%Y-%m-%d %H:%M} UTC"
    return None


def expired(tariff: Tariff, at: datetime) -> bool:
    """Whether the tariff will never price anything from this moment on."""
    start, end = tariff.start_date_time, tariff.end_date_time
    return end is not None and (at >= end or (start is not None and end <= start))
