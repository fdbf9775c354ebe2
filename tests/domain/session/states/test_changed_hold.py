"""Holds that the PSP raises and lowers in place: what they come to, and how low one may go."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.charging.charge import ChargeState
from app.domain.limit.policy import Policy, SmallAuthorizations
from app.domain.limit.profile import latency_bound_s
from app.domain.session.holds import hold_deadline, holds, spread
from app.domain.session.limit import METER_ROUNDING_WH, bound_of
from app.domain.session.machine import Change
from app.domain.session.monta_calls import start_intended, start_not_done, start_unknown
from app.domain.session.payment_session import PaymentSession, Status, TopUp
from app.domain.session.states.changed_hold import (
    STOP_SENT_WITHIN,
    held,
    is_too_small,
    may_use_more,
    with_changed,
)
from app.domain.tariff import Tariff, parse_tariff
from tests.domain.sessions import POLICY, T0, after, new_session, posted, running, seen

totals = st.integers(1, 50_000)


def changed(
    session: PaymentSession, total: int, reference: str = "A-1", end: datetime | None = None
) -> PaymentSession:
    hold = held(session, reference)
    assert hold is not None
    return with_changed(session, hold, total, end)


def tariff_of(kwh: Decimal, hour: Decimal, flat: Decimal) -> Tariff:
    prices = {"ENERGY": kwh, "TIME": hour, "FLAT": flat}
    components = [{"type": name, "price": str(price), "step_size": 1} for name, price in prices.items()]
    return parse_tariff({"currency": "EUR", "elements": [{"price_components": components}]})


@given(
    st.lists(st.tuples(st.sampled_from(["A-1", "T-1", "T-2"]), totals), max_size=8), st.integers(0, 100_000)
)
def test_whatever_is_raised_and_lowered_the_sum_is_that_of_the_last_totals(
    changes: list[tuple[str, int]], bill: int
) -> None:
    session = new_session(
        top_ups=(
            TopUp(reference="T-1", amount_minor=500, at=T0),
            TopUp(reference="T-2", amount_minor=700, at=T0),
        )
    )
    expected = {"A-1": 2000, "T-1": 500, "T-2": 700}
    for reference, total in changes:
        session = changed(session, total, reference)
        expected[reference] = total
    assert session.authorized_minor == sum(expected.values())
    assert {hold.reference: hold.amount_minor for hold in holds(session, POLICY)} == expected
    shares = spread(min(bill, session.authorized_minor), holds(session, POLICY))
    assert (
        sum(share.to_capture_minor + share.to_release_minor for share in shares) == session.authorized_minor
    )
    assert (session.authorization.amount_minor, [t.amount_minor for t in session.top_ups]) == (
        2000,
        [500, 700],
    )


@given(
    kwh=st.decimals("0.10", "0.95", places=2),
    hour=st.decimals("0", "6", places=2),
    flat=st.decimals("0", "2", places=2),
    energy_wh=st.integers(0, 30_000),
    age_s=st.integers(0, 240),
    wait_s=st.integers(0, 1200),
    total=st.integers(1, 4000),
    power_w=st.sampled_from([3_600, 22_000, 150_000]),
)
def test_a_lower_total_that_is_taken_is_never_exceeded_by_a_stop_that_is_sent_in_time(
    *,
    kwh: Decimal,
    hour: Decimal,
    flat: Decimal,
    energy_wh: int,
    age_s: int,
    wait_s: int,
    total: int,
    power_w: int,
) -> None:
    charge = seen(ChargeState.CHARGING, at_s=wait_s, energy_wh=energy_wh, energy_at_s=wait_s)
    session = changed(
        new_session(
            tariff=tariff_of(kwh, hour, flat), power_bound_w=power_w, charge=charge, status=Status.CHARGING
        ),
        total,
    )
    now = after(wait_s + age_s)
    if may_use_more(session, POLICY, now):
        return
    stopped_s = age_s + STOP_SENT_WITHIN.total_seconds() + bound_of(session, charge, POLICY).latency_s
    wh = energy_wh + METER_ROUNDING_WH + power_w * stopped_s / 3600
    price = flat + kwh * Decimal(wh) / 1000 + hour * Decimal(wait_s + stopped_s) / 3600
    assert int((price * 100).quantize(Decimal(1), ROUND_HALF_UP)) <= total


def test_a_hold_may_be_lowered_as_far_as_the_worst_case_and_no_further() -> None:
    session = replace(running(energy_wh=980, at=100).session, power_bound_w=36_000)
    kept = [total for total in range(1, 300) if not may_use_more(changed(session, total), POLICY, after(101))]
    assert kept == list(range(kept[0], 300)), "more is never too little"
    worst_wh = (
        980 + METER_ROUNDING_WH + 10 * (1 + STOP_SENT_WITHIN.total_seconds() + latency_bound_s(None, POLICY))
    )
    assert 79 * worst_wh < kept[0] * 1000 < 79 * (worst_wh + 20), "0.79 a kWh, 10 Wh each second"


def test_without_a_tariff_only_a_limit_of_montas_allows_a_lower_total() -> None:
    session = running(energy_wh=0, at=100, tariff=None).session
    assert session.charge is not None
    assert may_use_more(changed(session, 1999), POLICY, after(101))
    shown = replace(session.charge.latest, price_limit=Decimal("15.00"))
    limited = replace(session, charge=replace(session.charge, latest=shown))
    assert not may_use_more(changed(limited, 1500), POLICY, after(101))
    assert may_use_more(changed(limited, 1499), POLICY, after(101))


def test_before_the_start_the_limits_follow_the_hold_and_after_an_unknown_one_it_stays() -> None:
    session = new_session()
    assert not may_use_more(changed(session, 500), POLICY, T0)
    sent = posted(session).session
    assert sent.monta_limits is not None
    assert may_use_more(changed(sent, 1999), POLICY, after(1)), "the charge may run"
    assert changed(sent, 1999).monta_limits == sent.monta_limits
    unknown = start_unknown(Change(sent), "503", POLICY).session
    assert may_use_more(changed(unknown, 1999), POLICY, after(1))
    refused = start_not_done(Change(sent), "429", retry_at=after(2)).session
    lowered = changed(refused, 1000)
    assert not may_use_more(lowered, POLICY, after(1))
    again = start_intended(Change(lowered), after(2), POLICY).session
    assert again.monta_limits is not None
    assert again.monta_limits.authorized_minor == 1000


def test_a_hold_that_buys_less_than_monta_limits_is_too_small_before_the_start_only() -> None:
    session = new_session()
    assert is_too_small(changed(session, 70), POLICY)
    assert not is_too_small(changed(session, 100), POLICY)
    assert not is_too_small(changed(session, 70), Policy(small_authorizations=SmallAuthorizations.WATCH))
    assert not is_too_small(changed(running(energy_wh=1, at=10).session, 70), POLICY)


@pytest.mark.parametrize("reference", ["A-1", "T-1"])
def test_a_change_may_move_the_holds_end_and_else_leaves_it(reference: str) -> None:
    session = new_session(top_ups=(TopUp(reference="T-1", amount_minor=500, at=T0),))
    before = hold_deadline(session, POLICY)
    sooner = changed(session, 900, reference, after(3600))
    assert hold_deadline(sooner, POLICY) == after(3600)
    assert hold_deadline(changed(sooner, 1000, reference), POLICY) == after(3600), "as it was said last"
    assert hold_deadline(changed(session, 900, reference), POLICY) == before
    far = changed(session, 900, reference, T0 + timedelta(days=400))
    assert hold_deadline(far, POLICY) == before, "no hold is kept for as long"
