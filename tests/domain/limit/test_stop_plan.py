"""The stop plan: Monta's limits, and a stop that is never too late and hardly ever too early."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.domain.limit.stop_plan import Basis, StopPlan, plan_stop, used
from app.domain.tariff import Period, PeriodKind, Reading, Tariff, parse_tariff, price
from app.domain.units.money import Rounding, to_major, to_minor
from tests.domain.tariff_worlds import World, amounts, billed, currencies, powers, tariffs, worlds, zones

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 11, 22, 10, tzinfo=UTC)


def tariff(*components: tuple[str, str], currency: str = "EUR", step: int = 1, **more: object) -> Tariff:
    listed = [{"type": kind, "price": amount, "step_size": step} for kind, amount in components]
    return parse_tariff({"id": "t", "currency": currency, "elements": [{"price_components": listed}], **more})


PER_KWH = tariff(("FLAT", "0.50"), ("ENERGY", "0.59"))


def reading(energy_wh: int, price: Decimal | None = None, price_per_kwh: Decimal | None = None) -> Reading:
    """Ten minutes after the start."""
    return Reading(
        started_at=START,
        at=START + timedelta(seconds=600),
        energy_wh=energy_wh,
        price=price,
        price_per_kwh=price_per_kwh,
    )


def planned(
    known: Reading,
    tariff: Tariff | None = PER_KWH,
    *,
    currency: str = "EUR",
    max_power_w: int = 11_000,
    energy_limit_wh: int | None = None,
) -> StopPlan:
    """The plan for 50 units authorized and a stop that takes 15 s."""
    return plan_stop(
        tariff,
        5000,
        currency,
        known,
        max_power_w=max_power_w,
        stop_latency_s=15,
        tz=BERLIN,
        energy_limit_wh=energy_limit_wh,
    )


def test_a_tariff_in_another_currency_counts_as_none() -> None:
    assert planned(reading(1000), currency="SEK").basis is Basis.NOTHING_KNOWN


def test_the_stop_is_sent_when_full_power_leaves_just_its_latency() -> None:
    """50.00 buys 83,898 Wh after the fee; from 73,898 Wh on, 10 kWh at 11 kW last 3,272.7 s."""
    found = planned(reading(73_898))
    assert found.basis is Basis.TARIFF
    assert found.stop_at is not None
    assert found.stop_at - (START + timedelta(seconds=600 - 15)) == timedelta(
        seconds=3272, microseconds=727272
    )


def test_a_session_over_its_limit_is_due_at_once() -> None:
    found = planned(reading(90_000))
    assert found.stop_at is not None
    assert found.stop_at <= START + timedelta(seconds=600)


def test_a_session_that_cannot_reach_its_authorization_needs_no_stop() -> None:
    assert planned(reading(0), tariff(("ENERGY", "0.001"))).stop_at is None
    assert planned(reading(0), tariff(("ENERGY", "1"), max_price={"before_taxes": 50})).stop_at is None
    assert planned(reading(0), tariff(("FLAT", "1"))).stop_at is None


def test_the_drivers_stop_request_stops_a_session_that_the_authorization_would_not() -> None:
    found = planned(reading(15_500), energy_limit_wh=21_000)
    assert found.basis is Basis.ENERGY_LIMIT
    assert found.stop_at == START + timedelta(seconds=600 + 1800 - 15)


def test_a_running_price_above_our_own_bound_becomes_the_base() -> None:
    """The tariff says 6.40 for 10 kWh, Monta 40.00: only 10.00 are left, at the tariff's price."""
    found = planned(reading(10_000, price=Decimal(40)))
    assert found.basis is Basis.REPORTED_PRICE
    left_wh = 10_000 / Decimal("0.59")
    assert found.stop_at is not None
    seconds = Decimal((found.stop_at - START).total_seconds()) - 600 + 15
    assert abs(seconds - left_wh * 3600 / 11_000) < 1


def test_a_running_price_below_our_bound_changes_nothing() -> None:
    assert planned(reading(10_000, price=Decimal(1))) == planned(reading(10_000))


def test_without_a_tariff_the_average_price_so_far_is_believed() -> None:
    found = planned(reading(10_000, price=Decimal(5)), None)
    assert found.basis is Basis.REPORTED_PRICE
    assert found.stop_at == START + timedelta(seconds=600 - 15, microseconds=90_000 * 3_600_000_000 // 11_000)


def test_without_a_tariff_a_price_per_kwh_is_enough() -> None:
    found = planned(reading(0, price_per_kwh=Decimal("0.5")), None)
    assert found.basis is Basis.REPORTED_PRICE
    assert found.stop_at is not None


def test_a_reported_price_above_the_authorization_is_due_at_once_without_a_tariff() -> None:
    found = planned(reading(0, price=Decimal(51)), None)
    assert found.stop_at == START + timedelta(seconds=600 - 15)


@pytest.mark.parametrize("running", [None, Decimal(0), Decimal(1)])
def test_when_nothing_is_known_the_plan_says_so(running: Decimal | None) -> None:
    found = planned(reading(0, price=running), None)
    assert (found.stop_at, found.basis) == (None, Basis.NOTHING_KNOWN)


latencies = st.integers(0, 30)


def stopped(world: World, stop_at: datetime, latency_s: int) -> World:
    """Full power, charging or parked as in the last period, until the stop has worked."""
    end = stop_at + timedelta(seconds=latency_s)
    rest: list[Period] = []
    for each in world.rest:
        seconds = min(each.seconds, max(0, int((end - each.start).total_seconds())))
        wh = world.max_power_w * seconds // 3600 if each.kind is PeriodKind.CHARGING else 0
        rest.append(replace(each, seconds=seconds, wh=wh))
    return replace(world, rest=tuple(each for each in rest if each.seconds))


@given(tariffs(), worlds(), zones, latencies, st.integers(0, 12_000))
def test_whoever_stops_at_the_latest_stop_never_exceeds_the_authorization(
    known: Tariff, world: World, tz: ZoneInfo, latency_s: int, authorized_minor: int
) -> None:
    stop_at = plan_stop(
        known,
        authorized_minor,
        "EUR",
        world.reading,
        max_power_w=world.max_power_w,
        stop_latency_s=latency_s,
        tz=tz,
    ).stop_at
    if stop_at is not None:
        assume(stop_at + timedelta(seconds=latency_s) > world.reading.at)
        world = stopped(world, stop_at, latency_s)
    assert billed(known, world, tz) <= to_major(authorized_minor, "EUR")


@given(currencies, amounts(3), amounts(1), powers, st.integers(1000, 15_000), latencies, st.integers(0, 100))
def test_at_full_power_flat_fee_and_energy_leave_less_than_a_second_unused(
    currency: str,
    fee: Decimal,
    per_kwh: Decimal,
    power_w: int,
    authorized_minor: int,
    latency_s: int,
    share: int,
) -> None:
    assume(per_kwh > 0)
    known = tariff(("FLAT", str(fee)), ("ENERGY", str(per_kwh)), currency=currency)
    authorized = to_major(authorized_minor, currency)
    assume(authorized > fee)
    buys_wh = int((authorized - fee) / per_kwh * 1000)
    now = reading(buys_wh * share // 100)
    stop_at = plan_stop(
        known, authorized_minor, currency, now, max_power_w=power_w, stop_latency_s=latency_s, tz=BERLIN
    ).stop_at
    assume(stop_at is not None)
    assert stop_at is not None
    ran_us = (stop_at - now.at) // timedelta(microseconds=1) + latency_s * 1_000_000
    energy_wh = now.energy_wh + Decimal(power_w * ran_us) / 3_600_000_000
    cost = fee + per_kwh * energy_wh / 1000
    a_second = per_kwh * (Decimal(power_w) / 3600 + 1) / 1000
    assert authorized - a_second <= cost <= authorized


@given(tariffs(), worlds(), zones, st.integers(0, 12_000))
def test_the_amount_used_is_never_above_what_is_billed_for_it(
    known: Tariff, world: World, tz: ZoneInfo, authorized_minor: int
) -> None:
    billed_minor = to_minor(price(known, world.past, tz).total, "EUR", Rounding.HALF_UP)
    found = used(known, authorized_minor, "EUR", world.reading, max_power_w=world.max_power_w, tz=tz)
    assert 0 <= found.amount_minor <= min(billed_minor, authorized_minor)
    assert found.error_minor == 0


@given(tariffs(), worlds(), zones, st.integers(0, 12_000), st.integers(0, 20_000))
def test_whatever_price_monta_shows_the_bill_is_below_the_amount_used_by_its_stated_error_at_most(
    known: Tariff, world: World, tz: ZoneInfo, authorized_minor: int, shown_minor: int
) -> None:
    billed_minor = to_minor(price(known, world.past, tz).total, "EUR", Rounding.HALF_UP)
    shown = replace(world.reading, price=Decimal(shown_minor) / 100)
    found = used(known, authorized_minor, "EUR", shown, max_power_w=world.max_power_w, tz=tz)
    assert 0 <= found.amount_minor <= authorized_minor
    assert found.amount_minor - found.error_minor <= min(billed_minor, authorized_minor)


def test_the_amount_used_follows_the_tariff_and_not_a_running_price_that_cannot_be() -> None:
    def shown(reported: str | None) -> int:
        running = None if reported is None else Decimal(reported)
        known = reading(10_000, price=running)
        return used(PER_KWH, 5000, "EUR", known, max_power_w=11_000, tz=BERLIN).amount_minor

    assert [shown(each) for each in (None, "6.40", "5", "99")] == [640, 640, 640, 640]


def test_without_a_tariff_the_amount_used_is_the_running_price() -> None:
    def shown(known: Reading) -> int:
        found = used(None, 5000, "EUR", known, max_power_w=11_000, tz=BERLIN)
        assert found.error_minor == found.amount_minor
        return found.amount_minor

    assert [
        shown(reading(0)),
        shown(reading(9, price=Decimal("1.239"))),
        shown(reading(9, price=Decimal(70))),
    ] == [
        0,
        123,
        5000,
    ]
