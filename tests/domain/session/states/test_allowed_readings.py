"""Tests of app/domain/session/states/allowed_readings: when nothing is allowed, and each bound of what is."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.domain.charging.charge import Charge, ChargeState
from app.domain.limit.policy import Policy
from app.domain.session.holds import stop_by
from app.domain.session.limit import bound_of, limit_at
from app.domain.session.limit_checks import BLUR_WH
from app.domain.session.payment_session import (
    Authorization,
    DuplicateCharge,
    Lost,
    PaymentSession,
    Refusals,
    StopReason,
    StopRequest,
)
from app.domain.session.plausibility import SHOWN_FACTOR, SLACK_WH
from app.domain.session.states.allowed_readings import NO_BOUND_WH, RATE_MARGIN, TARIFF_ENDS, allowed_for
from app.domain.session.states.kept_readings import Allowed
from app.domain.session.states.running_reports import SOON
from app.domain.tariff import Tariff
from app.domain.units.ids import ChargeId
from tests.domain.planned_sessions import ENERGY, TARIFFS, priced, session_of, tariff
from tests.domain.sessions import POLICY, after

NOW = after(70)


def session(prices: Tariff | None = TARIFFS["by energy"], amount: int = 5_000, **more: Any) -> PaymentSession:
    """A 22 kW session whose charge has 300 Wh for 0.24, `amount` minor units authorized."""
    made = session_of(prices, 22_000, amount, guarded=True, has_price=True, energy_wh=300)
    return replace(made, **more)


def charge() -> Charge:
    found = session().charge
    assert found is not None
    return found


def seen(**more: Any) -> PaymentSession:
    """The same with another charge."""
    return session(charge=replace(charge(), **more))


def showing(**latest: Any) -> PaymentSession:
    """The same with another last report."""
    return seen(latest=replace(charge().latest, **latest))


def start(**more: Any) -> PaymentSession:
    plain = session()
    return replace(plain, start=replace(plain.start, **more))


def reads(**more: Any) -> PaymentSession:
    plain = session()
    return replace(plain, reads=replace(plain.reads, **more))


def meter(**more: Any) -> PaymentSession:
    plain = session(amount=500)
    return replace(plain, meter_history=replace(plain.meter_history, **more))


def allowed(of: PaymentSession, policy: Policy = POLICY, now: datetime = NOW) -> Allowed:
    found = allowed_for(of, policy, now)
    assert found is not None
    return found


def ending(at: datetime) -> PaymentSession:
    return session(tariff(priced(ENERGY), end_date_time=at.isoformat()))


def searching(at: datetime) -> PaymentSession:
    """Searched for duplicate charges at this time, and again until the end."""
    return replace(start(searched_at=at), watch_until=after(10_000))


EXTRAORDINARY = {
    "paused": showing(state=ChargeState.PAUSED),
    "an older energy": showing(energy_wh=299),
    "no energy": seen(energy_wh=0, latest=replace(charge().latest, energy_wh=0)),
    "no time": showing(updated_at=None),
    "a report that was set aside": showing(set_aside_why="odd"),
    "a price that is not shown any more": seen(
        latest=replace(charge().latest, price=None), last_priced=charge().latest
    ),
    "a negative price": showing(price=Decimal("-0.01")),
    "another currency": showing(currency="SEK"),
    "stopped": showing(stopped_at=NOW),
    "completed": showing(completed_at=NOW),
    "failed": showing(failed_at=NOW),
    "why it failed": showing(failure_reason="fault"),
    "why it stopped": showing(stop_reason="remote"),
    "nothing said": showing(said=None),
    "a second charge": session(
        duplicates=(DuplicateCharge(id=ChargeId("2"), state=ChargeState.CHARGING, found_at=NOW, seen_at=NOW),)
    ),
    "lost": session(lost=Lost.GONE),
    "a requested stop": session(stop_request=StopRequest(reason=StopReason.DRIVER, at=NOW)),
    "not found at Monta": reads(missing=Refusals(count=1, since=NOW)),
    "a sweep is awaited": reads(sweep_asked_at=after(71)),
    "an unknown rating": session(power_bound_w=None),
    "clocks apart": start(monta_ahead_s=30.0),
    "seen later than shown": seen(seen_at=after(71)),
    "a search is due": searching(after(70 - POLICY.duplicate_search_s)),
    "a tariff that ends": ending(NOW + TARIFF_ENDS),
}


@pytest.mark.parametrize("of", EXTRAORDINARY.values(), ids=EXTRAORDINARY)
def test_each_extraordinary_fact_alone_has_every_reading_applied(of: PaymentSession) -> None:
    assert allowed_for(session(), POLICY, NOW) is not None
    assert allowed_for(of, POLICY, NOW) is None


def test_a_tariff_that_ends_later_is_an_ordinary_one() -> None:
    allowed(ending(NOW + TARIFF_ENDS + timedelta(seconds=1)))


def test_nothing_is_allowed_where_something_is_due_soon() -> None:
    near = session(amount=100)
    due_at = allowed(near).due_at
    assert allowed_for(near, POLICY, due_at - SOON) is None
    assert allowed(near, now=due_at - SOON - timedelta(milliseconds=1)).due_at == due_at


def test_a_stop_is_planned_before_the_limit_with_time_to_read_once_more() -> None:
    near = session(amount=500)
    assert near.charge is not None
    limit, found = limit_at(near, near.charge, POLICY), allowed(near)
    assert limit is not None
    assert timedelta(seconds=1) <= limit - found.stop_at <= timedelta(seconds=5)
    assert found.stop_at - found.due_at == timedelta(seconds=POLICY.read_ahead_s + POLICY.fresh_s)
    slow = allowed(meter(interval_ms=30_000))
    assert slow.stop_at - slow.due_at == timedelta(seconds=30 + POLICY.settled_sample_s)


def test_the_holds_end_and_the_next_search_are_due_times_too() -> None:
    held = Authorization(reference="A-1", amount_minor=5_000, currency="EUR", expires_at=after(1_000))
    short = session(authorization=held)
    assert allowed(short).due_at == stop_by(short, POLICY) < after(1_000)
    assert allowed(searching(NOW)).due_at == after(70 + POLICY.duplicate_search_s)


def test_where_parking_costs_half_of_the_time_is_allowed_for() -> None:
    plain = session(tariff(priced(ENERGY)), amount=500)
    costly = session(tariff(priced(ENERGY, ("PARKING_TIME", "0.01", 1))), amount=500)
    assert plain.charge is not None
    latency = timedelta(seconds=bound_of(plain, plain.charge, POLICY).latency_s + POLICY.reaction_s)
    whole, half = allowed(plain).stop_at - NOW + latency, allowed(costly).stop_at - NOW + latency
    assert whole / 2 - timedelta(seconds=5) < half <= whole / 2


@pytest.mark.parametrize(
    ("of", "policy", "power_w"),
    [
        (session(), POLICY, 22_000),
        (meter(peak_w=1_000), POLICY, 1_000 * SHOWN_FACTOR),
        (session(), replace(POLICY, highest_power_w=15_000), 15_000),
    ],
)
def test_power_is_bounded_by_the_rating_by_what_was_shown_and_by_what_is_believed(
    of: PaymentSession, policy: Policy, power_w: int
) -> None:
    assert allowed(of, policy).power_w == power_w


def test_until_power_was_shown_a_step_is_bounded() -> None:
    assert allowed(session()).step_wh == SLACK_WH
    assert allowed(meter(peak_w=20_000)).step_wh == NO_BOUND_WH


@pytest.mark.parametrize(
    ("kwh_limit", "most_wh"), [(None, NO_BOUND_WH), (Decimal("1.2345"), 1_235 + BLUR_WH)]
)
def test_energy_passes_montas_limit_by_its_blur_only(kwh_limit: Decimal | None, most_wh: int) -> None:
    assert allowed(showing(kwh_limit=kwh_limit)).most_wh == most_wh


@pytest.mark.parametrize(
    ("price_limit", "most"),
    [
        (None, Decimal("50.00")),
        (Decimal("49.99"), Decimal("50.00")),
        (Decimal("60"), Decimal("50.00")),
        (Decimal("10"), Decimal("10.01")),
    ],
)
def test_the_price_passes_neither_what_is_authorized_nor_montas_limit_beyond_rounding(
    price_limit: Decimal | None, most: Decimal
) -> None:
    assert allowed(showing(price_limit=price_limit)).most_price == most


@pytest.mark.parametrize(
    ("name", "price", "per_wh", "per_s"),
    [
        ("by energy", "0.247", "0.00079", "0"),  # 0.3 kWh, and one cent
        ("with an idle fee", "0.247", "0.00079", "0"),
        ("with a fee and steps", "1.180", "0.00049", "0.000333333333"),  # 69 seconds have passed
        ("by minutes", "0.215", "0.0003", "0.001666666666"),
        ("with both times", "0.266", "0.00079", "0.000277777777"),  # the lower one of both
        ("dearer after some energy", "0.100", "0.0003", "0"),
        ("with a least and a highest price", "5.010", "0", "0"),
    ],
)
def test_the_price_rises_from_the_least_that_the_tariff_makes_and_by_its_least_rates(
    name: str, price: str, per_wh: str, per_s: str
) -> None:
    found = allowed(session(TARIFFS[name]))
    rates = (found.price_per_wh, found.price_per_s)
    assert (round(found.price, 3), *rates) == (Decimal(price), Decimal(per_wh), Decimal(per_s))


def test_without_a_tariff_the_average_may_rise_by_rounding() -> None:
    found = allowed(session(None))
    assert found.price == Decimal("0.24") * RATE_MARGIN + Decimal("0.01")
    assert found.price_per_wh == found.price / 300
    assert Decimal(1) < RATE_MARGIN <= Decimal("1.05")
