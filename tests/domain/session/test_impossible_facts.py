"""Tests of app/domain/session/plausibility.

F97: energy beyond rating, our own clock and the meter's history is never billed, shown or learned.
"""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.charging.charge import ChargeReport
from app.domain.charging.charge_point import CurrentType
from app.domain.limit.policy import power_bound_w
from app.domain.limit.profile import ChargePointProfile, latency_bound_s
from app.domain.session.attention import AttentionCode
from app.domain.session.holds import settle_by
from app.domain.session.learning import learned
from app.domain.session.limit import amount_used, limit_at, max_power_w, reading_of
from app.domain.session.machine import Change, GiveUp, SendStop, Settle, Source
from app.domain.session.next_step import decide
from app.domain.session.payment_session import PaymentSession, Status, Stop, StopReason
from app.domain.session.plausibility import BELIEVED_FACTOR, SLACK_WH, most_energy_wh, unbillable
from app.domain.session.reports import apply_report
from app.domain.session.settle import settle_final, settle_unfinished
from app.domain.session.settlement import SettlementBasis
from app.domain.session.stuck_session import attention_reasons
from app.domain.tariff import upper_bound
from tests.domain.sessions import POLICY, TARIFF, after, new_session, posted, report, running

RATED_W = 11_000
API, WEBHOOK = Source.MONTA_API, Source.MONTA_WEBHOOK


def true_wh(seconds: float) -> int:
    return int(RATED_W * seconds / 3600)


def charging(until_s: int = 600, every_s: int = 60, **more: object) -> Change:
    """At the full power of its charge point, a reading a minute."""
    change = running(0, at=5, **({"power_bound_w": RATED_W} | more))
    for at in range(every_s, until_s + 1, every_s):
        news = report(at=at, energy_wh=true_wh(at), price=Decimal(true_wh(at)) * Decimal("0.00049"))
        change = apply_report(change, news, WEBHOOK, POLICY)
    return change


def applied_reports(change: Change, told: ChargeReport, source: Source = API) -> PaymentSession:
    return apply_report(change, told, source, POLICY).session


def last_word(session: PaymentSession) -> PaymentSession:
    """Settled before the hold expires, when operations do not decide."""
    return settle_unfinished(Change(session), settle_by(session, POLICY), POLICY).session


@pytest.mark.parametrize("rated_w", [RATED_W, 4_000_000, None])
@pytest.mark.parametrize("tariff", [TARIFF, None])
@pytest.mark.parametrize("claimed_wh", [910_031, 100_000, 999_999, 12_345_678, 99_999_999_000])
def test_F97_a_lifetime_reading_in_the_final_record_is_held_and_the_plausible_amount_settled(
    claimed_wh: int, tariff: object, rated_w: int | None
) -> None:
    before = charging(tariff=tariff, power_bound_w=rated_w)
    final = report("completed", 610, energy_wh=claimed_wh, price=Decimal("445.92"))
    session = applied_reports(before, final)
    charge = session.charge
    assert charge is not None
    assert "than the charge point can have given" in (unbillable(session, charge, POLICY) or "")
    for days in (0, 1, 2):
        late = after(620 + days * 86_400)
        again = apply_report(Change(session), replace(final, seen_at=late), API, POLICY).session
        assert not isinstance(decide(again, POLICY, late), Settle | GiveUp), "time does not make it possible"
    assert (session.energy_wh, amount_used(session, POLICY).amount_minor <= 200) == (true_wh(600), True)
    settled = last_word(session).settlement
    assert settled is not None
    assert (settled.energy_wh, 0 < settled.to_capture_minor <= 150) == (true_wh(600), True)


def test_F97_a_lifetime_reading_without_an_earlier_one_does_not_mean_that_nothing_ran() -> None:
    change = running(0, at=5, power_bound_w=RATED_W)
    session = applied_reports(change, report("stopped", 610, energy_wh=910_031))
    session = replace(session, reads=replace(session.reads, idle_reads=9))
    assert not isinstance(decide(session, POLICY, after(620)), GiveUp)
    session = applied_reports(
        Change(session), report("completed", 630, energy_wh=910_031, price=Decimal("445.92"))
    )
    assert not isinstance(decide(session, POLICY, after(640)), GiveUp | Settle)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param((0, 1_410, 1_420), 4_200, id="a meter that fell and rose again"),
        pytest.param((0, 10), 8_000, id="a battery that is warmed first"),
        pytest.param((10, 20, 30), 8_000, id="a car that waits"),
    ],
)
def test_F97_hardly_any_energy_says_nothing_about_the_power_that_follows(
    first: tuple[int, ...], then: int
) -> None:
    """At 240 kW by a meter that reports every two minutes."""
    rated_w, every_s = 300_000, 120
    change = running(0, at=5, power_bound_w=rated_w)
    full = range(then, 40_000, 8_000)
    for number, wh in enumerate((*first, *full), 1):
        price = Decimal(wh) * Decimal("0.00049")
        change = apply_report(change, report(at=number * every_s, energy_wh=wh, price=price), WEBHOOK, POLICY)
        assert change.session.energy_wh == wh
    at = (len(first) + len(full)) * every_s + 10
    final = report("completed", at, energy_wh=full[-1], price=Decimal(full[-1]) * Decimal("0.00049"))
    session = applied_reports(change, final)
    assert session.charge is not None
    assert unbillable(session, session.charge, POLICY) is None


@pytest.mark.parametrize("source", [API, WEBHOOK])
@given(
    claimed_wh=st.integers(20_000, 10**14),
    price=st.none() | st.decimals(0, 10**9, places=2),
    at=st.integers(610, 640),
)
def test_F97_no_absurd_running_reading_changes_anything(
    source: Source, claimed_wh: int, price: Decimal | None, at: int
) -> None:
    before = charging().session
    told = report(at=at, energy_wh=claimed_wh, price=price)
    change = apply_report(Change(before), told, source, POLICY)
    session = change.session
    assert session.charge is not None
    assert before.charge is not None
    assert "impossible_reading_left_out" in [line.kind for line in change.lines]
    assert (session.energy_wh, session.meter_history, session.observed_max_w) == (
        before.energy_wh,
        before.meter_history,
        before.observed_max_w,
    )
    assert amount_used(session, POLICY) == amount_used(before, POLICY)
    assert not isinstance(decide(session, POLICY, after(at)), SendStop)
    assert reading_of(session, session.charge, POLICY) == reading_of(before, before.charge, POLICY)
    told_of = [d.code for d in attention_reasons(session, POLICY, after(at)) if d.why is not None]
    assert told_of == ([AttentionCode.IMPOSSIBLE_READING] if source is API else [])
    right = applied_reports(Change(session), report(at=660, energy_wh=true_wh(660)), source)
    assert right.energy_wh == true_wh(660)
    assert not any(d.why for d in attention_reasons(right, POLICY, after(661)))


def test_F97_readings_that_cannot_be_do_not_make_a_meter_stand_still() -> None:
    """As long as they last, full power counts since the last one that can."""
    sure = charging().session
    assert sure.charge is not None
    expected = limit_at(sure, sure.charge, POLICY)
    session = sure
    for at in range(660, 3000, 60):
        session = applied_reports(Change(session), report(at=at, energy_wh=910_000 + true_wh(at)))
    assert session.charge is not None
    assert limit_at(session, session.charge, POLICY) == expected
    assert session.status is Status.CHARGING


def test_F97_lifetime_readings_from_the_beginning_do_not_mean_that_the_charge_never_began() -> None:
    session = running(0, at=5, power_bound_w=RATED_W).session
    for at in range(60, 1200, 60):
        session = applied_reports(Change(session), report(at=at, energy_wh=910_000 + true_wh(at)))
        step = decide(session, POLICY, after(at))
        assert not isinstance(step, SendStop), at
    assert session.energy_wh == 0


prices = st.decimals(-(10**9), 10**9, places=2) | st.decimals(-5, 60, places=2)
absurd = st.builds(
    lambda energy_wh, price, average, began, ended, done, currency: {
        "energy_wh": energy_wh,
        "price": price,
        "price_per_kwh": average,
        "started_at": began,
        "stopped_at": ended,
        "completed_at": done,
        "currency": currency,
    },
    st.none() | st.integers(0, 10**14) | st.integers(0, 12_000),
    st.none() | prices,
    st.none() | st.decimals(0, 1000, places=4),
    *[st.none() | st.integers(-(10**9), 2 * 10**9).map(after)] * 3,
    st.sampled_from(["EUR", "EUR", "EUR", "SEK", None]),
)


@given(st.lists(st.tuples(st.booleans(), absurd), max_size=4), absurd, st.sampled_from([TARIFF, None]))
def test_F97_whatever_is_reported_no_more_than_the_plausible_amount_is_captured(
    running_facts: list[tuple[bool, dict[str, object]]], final: dict[str, object], tariff: object
) -> None:
    change = charging(tariff=tariff)
    for number, (by_rest, facts) in enumerate(running_facts):
        told = report(at=601 + number, **facts)  # type: ignore[arg-type]  # by name
        change = apply_report(change, told, API if by_rest else WEBHOOK, POLICY)
        assert change.session.energy_wh <= _most_wh(601 + number)
    session = applied_reports(change, report("completed", 610, **final))
    assert session.charge is not None
    change = Change(session)
    billable = unbillable(session, session.charge, POLICY) is None
    assert billable or not isinstance(decide(session, POLICY, after(610)), Settle)
    if billable:
        ended = settle_final(change, after(611), POLICY).session
    else:
        ended = settle_unfinished(change, settle_by(session, POLICY), POLICY).session
    settled = ended.settlement
    assert settled is not None
    assert settled.energy_wh <= _most_wh(610)
    price = final["price"]
    if isinstance(price, Decimal) and price < 0:
        assert settled.to_capture_minor == 0
    if tariff is not None:
        reading = replace(
            reading_of(session, session.charge, POLICY, RATED_W), energy_wh=_most_wh(610), price=None
        )
        most = upper_bound(TARIFF, reading, reading.at, RATED_W, ZoneInfo("UTC"))
        assert settled.to_capture_minor <= most * 100 * BELIEVED_FACTOR + 500
    assert settled.basis is not SettlementBasis.NOTHING_KNOWN or settled.to_capture_minor == 0


def _most_wh(at: int) -> int:
    return BELIEVED_FACTOR * RATED_W * (at + 1) // 3600 + SLACK_WH


@given(st.integers(1_400, 4_000_000), st.floats(0.05, 2.5), st.integers(5, 120))
def test_F97_a_real_charge_above_its_rating_is_never_held(rated_w: int, factor: float, minutes: int) -> None:
    """A rating that is too small by up to two and a half times."""
    flows_w = min(rated_w * factor, 3_900_000)
    change = running(0, at=5, power_bound_w=rated_w)
    for minute in range(1, minutes + 1):
        wh = int(flows_w * (minute * 60 - 4) / 3600)
        change = apply_report(change, report(at=minute * 60, energy_wh=wh), WEBHOOK, POLICY)
        assert change.session.energy_wh == wh
    wh = int(flows_w * minutes / 60)
    price = (Decimal(wh) * Decimal("0.00079")).quantize(Decimal("0.01"))
    session = applied_reports(change, report("completed", minutes * 60 + 5, energy_wh=wh, price=price))
    assert session.charge is not None
    assert unbillable(session, session.charge, POLICY) is None


@given(st.integers(1, 40), st.integers(0, 3600))
def test_F97_a_meter_that_is_silent_for_hours_and_then_right_is_believed(hours: int, after_s: int) -> None:
    change = charging()
    at = 600 + hours * 3600 + after_s
    final = report("completed", at, energy_wh=true_wh(at), price=Decimal(true_wh(at)) * Decimal("0.00079"))
    session = applied_reports(change, final)
    assert session.charge is not None
    assert unbillable(session, session.charge, POLICY) is None


def test_F97_a_car_that_was_full_long_ago_was_not_given_a_lifetime() -> None:
    """Rating and time alone would allow it, overnight."""
    change = charging(1800)
    for at in range(3600, 12 * 3600, 3600):
        change = apply_report(change, report("paused", at, energy_wh=true_wh(1800)), API, POLICY)
    session = applied_reports(
        change, report("completed", 12 * 3600, energy_wh=380_000, price=Decimal("186.20"))
    )
    assert session.charge is not None
    assert unbillable(session, session.charge, POLICY) is not None


@pytest.mark.parametrize(
    ("rated_w", "kind", "bound_w"),
    [
        (11_000, CurrentType.AC, 11_000),
        (3_750_000, CurrentType.DC, 3_750_000),
        (4_000_000, CurrentType.DC, 4_000_000),
        (4_000_001, CurrentType.DC, 400_000),
        (10**12, None, 400_000),
        (3_700_000, CurrentType.AC, 43_000),
        (0, CurrentType.AC, 43_000),
        (-5, CurrentType.DC, 400_000),
        (11, CurrentType.AC, 43_000),
        (None, None, 400_000),
    ],
)
def test_F97_a_rating_that_cannot_be_says_nothing(
    rated_w: int | None, kind: CurrentType | None, bound_w: int
) -> None:
    assert power_bound_w(rated_w, kind, POLICY) == bound_w


@given(st.integers(1, 5), st.integers(0, 200_000), st.integers(1_000, 4_000_000))
def test_F97_readings_in_a_burst_do_not_make_a_charger_of_any_power(
    seconds: int, wh: int, rated_w: int
) -> None:
    change = running(0, at=60, power_bound_w=rated_w)
    session = applied_reports(change, report(at=60 + seconds, energy_wh=wh), WEBHOOK)
    assert max_power_w(session, POLICY) <= min(BELIEVED_FACTOR * rated_w, POLICY.highest_power_w)


@pytest.mark.parametrize("stopped_at", [-(10**9), -5, 3_000, 10**9])
def test_F97_no_odd_date_of_an_end_is_learned_as_how_long_stops_take(stopped_at: int) -> None:
    before = charging()
    stop = Stop(reason=StopReason.LIMIT_REACHED, decided_at=after(605))
    change = Change(replace(before.session, stop=stop, status=Status.STOPPING))
    final = report("completed", 615, energy_wh=true_wh(610), stopped_at=after(stopped_at), price=Decimal(1))
    taught = learned(ChargePointProfile(), applied_reports(change, final), POLICY)
    assert latency_bound_s(taught, POLICY) <= 30
    assert all(ms <= 10_000 for ms in taught.stop_latencies_ms)


def test_F97_a_stop_that_met_an_outage_is_not_learned() -> None:
    stop = Stop(reason=StopReason.LIMIT_REACHED, decided_at=after(605))
    change = Change(replace(charging().session, stop=stop, status=Status.STOPPING))
    final = report("completed", 11_500, energy_wh=true_wh(11_400), stopped_at=after(11_400), price=Decimal(9))
    taught = learned(ChargePointProfile(), applied_reports(change, final), POLICY)
    assert taught.stop_latencies_ms == ()


@given(st.integers(-(10**9), 2 * 10**9))
def test_F97_no_odd_date_of_a_start_makes_time_run_longer_than_ours(started_at: int) -> None:
    session = applied_reports(
        posted(new_session()), report(at=600, energy_wh=2000, started_at=after(started_at))
    )
    assert session.charge is not None
    reading = reading_of(session, session.charge, POLICY)
    skew = timedelta(seconds=POLICY.clock_skew_s)
    assert session.created_at - skew <= reading.since <= reading.at


def test_F97_the_most_is_said_once() -> None:
    session = charging().session
    assert most_energy_wh(session, after(600), POLICY) <= _most_wh(600)
    assert (BELIEVED_FACTOR, POLICY.highest_power_w) == (3, 4_000_000)
