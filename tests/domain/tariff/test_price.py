"""Prices of sessions: taxes, steps, limits, and the hours of days that have 23 or 25 of them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.domain.tariff import Period, PeriodKind, Tariff, parse_tariff, price
from app.domain.tariff.rates import rates_of
from app.domain.tariff.time_windows import cells
from app.domain.units.money import Rounding, to_minor
from tests.domain.tariff_worlds import CHANGES, World, amounts, currencies, tariffs, worlds, zones

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
UTC_ZONE = ZoneInfo("UTC")
Json = dict[str, object]


def tariff(*elements: Json, **more: object) -> Tariff:
    return parse_tariff({"id": "t", "currency": "EUR", "elements": list(elements), **more})


def element(kind: str, amount: str, vat: str | None = None, **restrictions: object) -> Json:
    component: Json = {"type": kind, "price": amount, "step_size": 1}
    if vat is not None:
        component["vat"] = vat
    return {"price_components": [component], "restrictions": restrictions}


def hours(
    start: datetime, length: float, wh: int = 0, kind: PeriodKind = PeriodKind.CHARGING
) -> list[Period]:
    return [Period(start=start, seconds=int(length * 3600), wh=wh, kind=kind)]


@pytest.mark.parametrize(
    ("tax_included", "before_tax", "tax", "total"),
    [("NO", "10", "2", "12"), ("YES", "8.333", "1.667", "10"), ("N/A", "10", "0", "10")],
)
def test_taxes_are_added_contained_or_none(tax_included: str, before_tax: str, tax: str, total: str) -> None:
    known = tariff(element("ENERGY", "1", "20"), tax_included=tax_included)
    found = price(known, hours(NOON, 1, 10_000), UTC_ZONE)
    shown = [round(each, 3) for each in (found.before_tax, found.tax, found.total)]
    assert shown == [Decimal(before_tax), Decimal(tax), Decimal(total)]


@given(amounts(2), st.integers(0, 10**6), amounts(30), st.sampled_from(["NO", "YES"]))
def test_taxes_never_change_the_side_that_the_prices_are_on(
    per_kwh: Decimal, wh: int, vat: Decimal, tax_included: str
) -> None:
    known = tariff(element("ENERGY", str(per_kwh), str(vat)), tax_included=tax_included)
    found = price(known, hours(NOON, 1, wh), UTC_ZONE)
    side = found.before_tax if tax_included == "NO" else found.total
    assert side == per_kwh * wh / 1000
    assert abs(found.before_tax * (1 + vat / 100) - found.total) < Decimal("1e-15")


@given(tariffs(), worlds(), zones)
def test_a_session_never_costs_less_for_going_on(known: Tariff, world: World, tz: ZoneInfo) -> None:
    assume(known.max_price is None)
    usage = [*world.past, *world.rest]
    steps = [len(each.rates) for each in rates_of(known).elements]
    assume(all(step for step in steps))
    totals = [price(known, usage[:count], tz).total for count in range(1, len(usage) + 1)]
    slack = _rounding_saved(known)
    assert all(later >= earlier - slack for earlier, later in pairwise(totals))


def _rounding_saved(known: Tariff) -> Decimal:
    """What steps may save when another price, or parking, becomes the last one."""
    steps = [r.gross * (r.step + 1) for each in rates_of(known).elements for r in each.rates.values()]
    return sum((Decimal(str(float(step))) for step in steps), Decimal("0.01"))


@given(tariffs(), worlds(), zones, st.integers(1, 3))
def test_cutting_a_period_in_two_does_not_change_its_price(
    known: Tariff, world: World, tz: ZoneInfo, parts: int
) -> None:
    whole = world.past[0]
    assume(whole.seconds % parts == 0 and whole.wh % parts == 0)
    seconds, wh = whole.seconds // parts, whole.wh // parts
    power = whole.wh * 3600 // whole.seconds
    cut = [
        Period(
            start=whole.start + timedelta(seconds=index * seconds),
            seconds=seconds,
            wh=wh,
            kind=whole.kind,
            power_w=power,
        )
        for index in range(parts)
    ]
    uncut = Period(start=whole.start, seconds=whole.seconds, wh=whole.wh, kind=whole.kind, power_w=power)
    assert price(known, cut, tz) == price(known, [uncut], tz)


@given(currencies, amounts(2), st.integers(0, 50_000))
def test_the_bill_is_rounded_half_up_once_in_every_currency(currency: str, per_kwh: Decimal, wh: int) -> None:
    known = parse_tariff({"id": "t", "currency": currency, "elements": [element("ENERGY", str(per_kwh))]})
    places = {"EUR": 2, "JPY": 0, "KWD": 3}[currency]
    found = to_minor(price(known, hours(NOON, 1, wh), UTC_ZONE).total, currency, Rounding.HALF_UP)
    exact = per_kwh * wh / 1000 * 10**places
    assert -Decimal("0.5") < exact - found <= Decimal("0.5") or exact - found == -Decimal("0.5")


def test_no_usage_costs_nothing() -> None:
    known = tariff(element("FLAT", "1"), min_price={"before_taxes": 5})
    assert price(known, [], UTC_ZONE).total == 0


def test_a_side_that_a_limit_does_not_name_follows_in_proportion() -> None:
    known = tariff(element("ENERGY", "1", "20"), max_price={"before_taxes": 10})
    found = price(known, hours(NOON, 1, 50_000), UTC_ZONE)
    assert [found.before_tax, found.total] == [10, 12]


def test_a_flat_fee_of_a_window_falls_due_when_the_session_reaches_it() -> None:
    known = tariff(element("FLAT", "3", min_duration=3600), element("FLAT", "1"))
    assert price(known, hours(NOON, 1), UTC_ZONE).total == 1
    assert price(known, hours(NOON, 1.5), UTC_ZONE).total == 4


def test_an_unknown_current_is_taken_from_the_power_at_230_volts() -> None:
    known = tariff(element("ENERGY", "1", max_current=32), element("ENERGY", "2"))
    assert price(known, hours(NOON, 1, 7_000), UTC_ZONE).total == 7
    assert price(known, hours(NOON, 1, 7_400), UTC_ZONE).total == Decimal("14.8")


NIGHT = tariff(
    element("TIME", "1", start_time="22:00", end_time="06:00"),
    element("TIME", "10"),
)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("start", "length", "cost"),
    [
        (datetime(2026, 11, 22, 18, tzinfo=BERLIN), 16, 4 * 10 + 8 * 1 + 4 * 10),
        (datetime(2026, 3, 28, 18, tzinfo=BERLIN), 15, 4 * 10 + 7 * 1 + 4 * 10),
        (datetime(2026, 10, 24, 18, tzinfo=BERLIN), 17, 4 * 10 + 9 * 1 + 4 * 10),
    ],
    ids=["a night of 8 hours", "the night of 7 hours in March", "the night of 9 hours in October"],
)
def test_a_night_window_is_as_long_as_the_clock_on_the_wall_says(
    start: datetime, length: int, cost: int
) -> None:
    assert price(NIGHT, hours(start, length), BERLIN).total == cost


@pytest.mark.parametrize(
    ("zone", "start", "length", "cost"),
    [
        # 02:00 to 03:00 does not exist: nothing falls into it.
        ("Europe/Berlin", "2026-03-29T00:00:00+00:00", 3, 3 * 10),
        # 02:00 to 03:00 comes twice.
        ("Europe/Berlin", "2026-10-25T00:00:00+00:00", 3, 2 * 1 + 1 * 10),
        # Lord Howe sets its clocks from 02:00 back to 01:30: the hour comes once, half an hour late.
        (
            "Australia/Lord_Howe",
            "2026-04-04T14:00:00+00:00",
            3,
            Decimal("1.5") * 10 + 1 + Decimal("0.5") * 10,
        ),
        # Kathmandu is 5:45 ahead, all year.
        ("Asia/Kathmandu", "2026-06-01T20:00:00+00:00", 2, 1 + 10),
    ],
)
def test_an_hour_that_is_missing_or_comes_twice_is_priced_as_it_passes(
    zone: str, start: str, length: int, cost: Decimal
) -> None:
    known = tariff(element("TIME", "1", start_time="02:00", end_time="03:00"), element("TIME", "10"))
    assert price(known, hours(datetime.fromisoformat(start), length), ZoneInfo(zone)).total == cost


@given(
    st.sampled_from(CHANGES),
    st.integers(0, 30 * 3600),
    zones,
    st.sampled_from([0, 1, 2, 3, 12, 23]),
    st.sampled_from([0, 1, 2, 3, 12, 23]),
    st.lists(st.sampled_from(["MONDAY", "SATURDAY", "SUNDAY"]), unique=True),
)
def test_windows_agree_with_the_clock_on_the_wall_minute_by_minute(
    start: datetime, length: int, tz: ZoneInfo, opens: int, closes: int, days: list[str]
) -> None:
    known = tariff(
        element("TIME", "1", start_time=f"{opens:02}:30", end_time=f"{closes:02}:00", day_of_week=days),
    )
    found = cells(rates_of(known).restrictions, start, length * 1_000_000, tz)
    wanted = {"MONDAY": 0, "SATURDAY": 5, "SUNDAY": 6}
    for second in range(0, length, 899):
        local = (start + timedelta(seconds=second)).astimezone(tz)
        minute, low, high = local.hour * 60 + local.minute, opens * 60 + 30, closes * 60
        inside = low <= minute < high if low < high else minute >= low or minute < high
        inside = inside and (not days or local.weekday() in {wanted[day] for day in days})
        cell = next(each for each in reversed(found) if each.start_us <= second * 1_000_000)
        assert bool(cell.active) == inside


def test_dates_begin_and_end_at_local_midnight() -> None:
    known = tariff(
        element("TIME", "1", start_date="2026-03-29", end_date="2026-03-30"), element("TIME", "10")
    )
    start = datetime(2026, 3, 28, 23, tzinfo=BERLIN)
    assert price(known, hours(start, 26), BERLIN).total == 10 + 23 + 20


def test_a_window_that_opens_amid_the_hour_that_comes_twice_opens_twice() -> None:
    """From 02:30 to the end of the first 02:00 hour, closed again at 02:00, and from the second 02:30 to 04:00."""
    known = tariff(element("TIME", "1", start_time="02:30", end_time="04:00"), element("TIME", "10"))
    start = datetime(2026, 10, 25, 0, tzinfo=UTC)
    assert price(known, hours(start, 4), BERLIN).total == Decimal("0.5") + Decimal("1.5") + 2 * 10
