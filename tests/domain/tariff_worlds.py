"""Random tariffs, sessions and readings for the property tests of tariffs and limits."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from app.domain.tariff import MeterPoint, Period, PeriodKind, Reading, Tariff, parse_tariff, price

Json = dict[str, object]
ZONES = [
    ZoneInfo(name)
    for name in (
        "Europe/Berlin",
        "Europe/Lisbon",
        "America/New_York",
        "America/St_Johns",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "Africa/Cairo",
        "Pacific/Auckland",
        "Europe/Istanbul",
    )
]
CHANGES = [
    datetime(2026, 3, 28, 20, tzinfo=UTC),
    datetime(2026, 10, 24, 20, tzinfo=UTC),
    datetime(2026, 3, 7, 22, tzinfo=UTC),
    datetime(2026, 10, 31, 22, tzinfo=UTC),
    datetime(2026, 4, 4, 10, tzinfo=UTC),
    datetime(2026, 4, 23, 18, tzinfo=UTC),
    datetime(2026, 11, 22, 10, tzinfo=UTC),
    datetime(2026, 12, 31, 15, tzinfo=UTC),
]
"""Evenings before a clock changes in one of the zones, and quiet days."""
zones = st.sampled_from(ZONES)
powers = st.sampled_from([3_700, 11_000, 22_000, 50_000, 150_000, 400_000])
currencies = st.sampled_from(["EUR", "JPY", "KWD"])
KINDS = ("FLAT", "ENERGY", "TIME", "PARKING_TIME")
DAYS = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"]


def amounts(most: int, places: int = 2) -> st.SearchStrategy[Decimal]:
    return st.decimals(min_value=0, max_value=most, places=places)


@st.composite
def components(draw: st.DrawFn, kind: str) -> Json:
    """A price component with a realistic price and sometimes a coarse step."""
    top = {"FLAT": 5, "ENERGY": 1, "TIME": 12, "PARKING_TIME": 12}[kind]
    steps = st.sampled_from([1, 1, 100, 1000] if kind == "ENERGY" else [1, 1, 60, 900])
    found: Json = {"type": kind, "price": draw(amounts(top)), "step_size": draw(steps)}
    vat = draw(st.sampled_from([None, Decimal(0), Decimal(10), Decimal("19.5")]))
    return found if vat is None else found | {"vat": vat}


@st.composite
def restrictions(draw: st.DrawFn) -> Json:
    """One to three restrictions, of any kind."""
    hours = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 15, 30]))
    kwh = amounts(30, 1)
    every: dict[str, st.SearchStrategy[object]] = {
        "start_time": hours,
        "end_time": hours,
        "start_date": st.sampled_from(["2026-03-29", "2026-10-25", "2027-01-01"]),
        "end_date": st.sampled_from(["2026-03-29", "2026-10-25", "2027-01-01"]),
        "min_kwh": kwh,
        "max_kwh": kwh,
        "min_power": amounts(100, 1),
        "max_power": amounts(100, 1),
        "min_current": amounts(100, 0),
        "max_current": amounts(100, 0),
        "min_duration": st.integers(0, 8 * 3600),
        "max_duration": st.integers(0, 8 * 3600),
        "day_of_week": st.lists(st.sampled_from(DAYS), min_size=1, max_size=4, unique=True),
    }
    names = draw(st.lists(st.sampled_from(sorted(every)), min_size=1, max_size=3, unique=True))
    return {name: draw(every[name]) for name in names}


@st.composite
def elements(draw: st.DrawFn, *, restricted: bool, of: Sequence[str]) -> Json:
    """An element with one to all of the kinds of components."""
    kinds = draw(st.lists(st.sampled_from(of), min_size=1, max_size=len(of), unique=True))
    found: Json = {"price_components": [draw(components(kind)) for kind in kinds]}
    return found | {"restrictions": draw(restrictions())} if restricted else found


@st.composite
def tariffs(
    draw: st.DrawFn, *, restricted: bool | None = None, currency: str = "EUR", of: Sequence[str] = KINDS
) -> Tariff:
    """A tariff; without restrictions, with, or either."""
    often = draw(st.booleans()) if restricted is None else restricted
    listed = [draw(elements(restricted=True, of=of)) for _ in range(draw(st.integers(1, 3)))] if often else []
    found: Json = {
        "id": "random",
        "currency": currency,
        "elements": [*listed, draw(elements(restricted=False, of=of))],
        "tax_included": draw(st.sampled_from(["YES", "NO", "N/A"])),
    }
    for name, top in (("min_price", 3), ("max_price", 60)):
        if draw(st.integers(0, 4)) == 0:
            sides = draw(
                st.sampled_from([("before_taxes",), ("after_taxes",), ("before_taxes", "after_taxes")])
            )
            limit = draw(amounts(top)) + (30 if name == "max_price" else 0)
            found[name] = {side: limit + (1 if side == "after_taxes" else 0) for side in sides}
    return parse_tariff(found)


@dataclass(frozen=True)
class World:
    """A session's whole course, the reading taken in its middle, and the power that the rest keeps to."""

    past: tuple[Period, ...]
    rest: tuple[Period, ...]
    reading: Reading
    max_power_w: int

    @property
    def until(self) -> datetime:
        return self.rest[-1].start + timedelta(seconds=self.rest[-1].seconds)


@st.composite
def worlds(draw: st.DrawFn, *, most_s: int = 3 * 3600, power: int | None = None) -> World:
    """A session of random periods, over a night on which clocks may change; maybe with earlier readings."""
    most_w = draw(powers) if power is None else power
    started_at = draw(st.sampled_from(CHANGES)) + timedelta(seconds=draw(st.integers(0, 10 * 3600)))
    past = draw(courses(started_at, 3 * most_w, most_s))
    at = past[-1].start + timedelta(seconds=past[-1].seconds)
    error_wh = draw(st.sampled_from([0, 0, 5, 1000]))
    reading = Reading(
        started_at=started_at,
        at=at,
        energy_wh=max(0, sum(each.wh for each in past) - draw(st.integers(0, error_wh))),
        meter_error_wh=error_wh,
        earlier=tuple(_points(past, error_wh)) if draw(st.booleans()) else (),
        parked_at_most_s=_parked(past) + draw(st.integers(0, 600)) if draw(st.booleans()) else None,
    )
    return World(past=past, rest=draw(courses(at, most_w, most_s)), reading=reading, max_power_w=most_w)


@st.composite
def courses(draw: st.DrawFn, start: datetime, most_w: int, most_s: int) -> tuple[Period, ...]:
    """One to four periods at any power up to `most_w`, often just that."""
    found: list[Period] = []
    for _ in range(draw(st.integers(1, 4))):
        seconds = draw(st.integers(1, most_s))
        top = most_w * seconds // 3600
        wh = draw(st.one_of(st.just(top), st.just(0), st.integers(0, top)))
        kind = draw(st.sampled_from(PeriodKind))
        wh = wh if kind is PeriodKind.CHARGING else 0
        current = draw(st.sampled_from([None, None, Decimal(16), Decimal(99)]))
        found.append(Period(start=start, seconds=seconds, wh=wh, kind=kind, current_a=current))
        start += timedelta(seconds=seconds)
    return tuple(found)


def billed(tariff: Tariff, world: World, tz: ZoneInfo) -> Decimal:
    """What the whole session costs."""
    return price(tariff, [*world.past, *world.rest], tz).total


def _points(past: tuple[Period, ...], error_wh: int) -> list[MeterPoint]:
    """What a meter showed after each period, in steps as coarse as its error."""
    energy, step, found = 0, error_wh + 1, []
    for each in past[:-1]:
        energy += each.wh
        shown = energy // step * step
        found.append(MeterPoint(at=each.start + timedelta(seconds=each.seconds), energy_wh=shown))
    return found


def _parked(past: tuple[Period, ...]) -> int:
    return sum(each.seconds for each in past if each.kind is PeriodKind.PARKING)
