"""What readings and settled sessions teach: meters, power, stop latency, whether Monta keeps its limits."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.charging.charge import ChargeState
from app.domain.limit.meter import OLDER, RECENT, SPACED, SPACED_US, MeterHistory, with_readings
from app.domain.limit.monta_limits import admitted, idle_fee_reserve_minor, monta_limits_for
from app.domain.limit.policy import SmallAuthorizations
from app.domain.limit.profile import ChargePointProfile, latency_bound_s, usual_peak_w
from app.domain.session.learning import KEPT, learned
from app.domain.session.limit import PowerBasis, bound_of, expected_end
from app.domain.session.machine import Change, Source
from app.domain.session.payment_session import PaymentSession, Stop, StopReason
from app.domain.session.reports import apply_report
from app.domain.session.settle import cause_of_shortfall
from app.domain.tariff import MeterPoint
from tests.domain.taught_sessions import POLICY, T0, charging, report, session, tariff

WORST_S = POLICY.stop_latency_s * POLICY.unknown_latency_factor


def shown(at_s: int, energy_wh: int) -> MeterPoint:
    return MeterPoint(at=T0 + timedelta(seconds=at_s), energy_wh=energy_wh)


def history_of(
    power_w: int, every_s: int, count: int, *, meter_history: MeterHistory | None = None, from_s: int = 0
) -> MeterHistory:
    meter_history = meter_history or MeterHistory()
    start_wh = meter_history.points[-1].energy_wh if meter_history.points else 0
    for i in range(1, count + 1):
        energy_wh = start_wh + round(power_w * every_s * i / 36_000) * 10
        meter_history = with_readings(meter_history, [shown(from_s + every_s * i, energy_wh)])
    return meter_history


def stopped(
    after_s: float, *, profile: ChargePointProfile | None = None, reason: str = "api"
) -> PaymentSession:
    """The charge above, stopped by us 5 s after its last reading; the energy ended `after_s` later."""
    found = replace(
        charging(profile), stop=Stop(reason=StopReason.LIMIT_REACHED, decided_at=T0 + timedelta(seconds=605))
    )
    ended = T0 + timedelta(seconds=605 + after_s)
    final_wh = 1830 + int((5 + after_s) * 11_000 / 3600)
    news = replace(
        report(700 + after_s, final_wh, ChargeState.COMPLETED),
        stopped_at=ended,
        stop_reason=reason,
        price=Decimal("1.00"),
    )
    return apply_report(Change(found), news, Source.MONTA_API, POLICY).session


@pytest.mark.parametrize("every_s", [10, 60, 300])
def test_a_regular_meter_is_understood_even_when_readings_get_lost(every_s: int) -> None:
    meter_history = history_of(11_000, every_s, 3)
    meter_history = history_of(11_000, every_s * 3, 1, meter_history=meter_history, from_s=every_s * 3)
    assert meter_history.interval_ms == every_s * 1000


def test_a_meter_that_reports_whole_kwh_is_not_taken_for_a_clock() -> None:
    meter_history = MeterHistory()
    for i in range(1, 6):
        meter_history = with_readings(meter_history, [shown(327 * i, 1000 * i)])
    assert (meter_history.interval_ms, meter_history.step_wh) == (None, 1000)


@pytest.mark.parametrize("every_s", [10, 60, 300])
@pytest.mark.parametrize("power_w", [3_700, 11_000, 50_000, 150_000])
def test_a_steady_power_is_bounded_closely_and_from_above(power_w: int, every_s: int) -> None:
    estimated_max_w = history_of(power_w, every_s, 20).estimated_max_w
    assert estimated_max_w is not None
    assert power_w <= estimated_max_w <= power_w * 1.025 + 350


def test_power_that_rises_as_no_battery_asks_for_is_that_of_a_shared_charger() -> None:
    meter_history = history_of(3_700, 60, 10)
    assert not meter_history.jumped
    assert history_of(22_000, 60, 1, meter_history=meter_history, from_s=600).jumped


def test_a_power_that_fell_is_taken_to_come_back_for_a_while() -> None:
    meter_history = history_of(11_000, 60, 10)
    throttled = history_of(4_000, 60, 1, meter_history=meter_history, from_s=600)
    assert (throttled.blocks_until_drop_counts, throttled.before_drop_w > 11_000) == (2, True)
    assert history_of(4_000, 60, 3, meter_history=throttled, from_s=660).blocks_until_drop_counts == 0


@given(st.permutations(range(1, 9)))
def test_readings_that_come_shuffled_leave_a_history_in_order(order: list[int]) -> None:
    meter_history = MeterHistory()
    for i in order:
        meter_history = with_readings(meter_history, [shown(60 * i, 180 * i)])
    assert list(meter_history.points) == sorted(meter_history.points, key=lambda p: p.at)
    assert [p.energy_wh for p in meter_history.points] == sorted({p.energy_wh for p in meter_history.points})
    assert meter_history.points[-1].energy_wh == 180 * 8


@given(
    st.lists(st.tuples(st.integers(0, 4_000), st.integers(0, 900)), max_size=40),
    st.integers(0, 40),
    st.booleans(),
)
def test_readings_that_come_together_are_added_as_one_by_one_and_older_ones_are_thinned(
    given: list[tuple[int, int]], first: int, by_the_hour: bool
) -> None:
    readings = [shown(at_s, wh * 10) for at_s, wh in (sorted(given) if first % 2 else given)]
    one_by_one = MeterHistory()
    for each in readings:
        one_by_one = with_readings(one_by_one, [each], by_the_hour=by_the_hour)
    together = with_readings(MeterHistory(), readings[:first], by_the_hour=by_the_hour)
    assert with_readings(together, readings[first:], by_the_hour=by_the_hour) == one_by_one
    slots = [int(point.at.timestamp() * 1_000_000) // SPACED_US for point in one_by_one.points[:-RECENT]]
    assert len(slots) <= SPACED + (OLDER if by_the_hour else 0)
    assert by_the_hour or len(set(slots)) == len(slots)


def test_shown_power_counts_when_monta_confirms_a_limit_and_the_hardware_when_it_does_not() -> None:
    known = charging()
    alone = charging(guarded=False)
    assert known.charge is not None
    assert alone.charge is not None
    tight, loose = bound_of(known, known.charge, POLICY), bound_of(alone, alone.charge, POLICY)
    assert (tight.basis, loose.basis) == (PowerBasis.SHOWN, PowerBasis.HARDWARE)
    assert 11_000 <= tight.power_w < 11_600
    assert loose.power_w == 22_000


def test_a_learned_latency_counts_only_beside_a_limit_of_montas_that_acts_at_once() -> None:
    profile = ChargePointProfile(stop_latencies_ms=(4_000,) * 10, limit_prompt=1)
    unproven = replace(profile, limit_prompt=0)
    known, alone, untried = charging(profile), charging(profile, guarded=False), charging(unproven)
    assert known.charge is not None
    assert alone.charge is not None
    assert untried.charge is not None
    assert bound_of(known, known.charge, POLICY).latency_s < 5
    assert bound_of(alone, alone.charge, POLICY).latency_s == WORST_S
    assert bound_of(untried, untried.charge, POLICY).latency_s == WORST_S


def test_a_charger_that_gave_way_once_or_a_limit_that_was_missed_is_not_trusted() -> None:
    for profile in (ChargePointProfile(shares_power=3), ChargePointProfile(limit_missed=3)):
        unconfirmed = charging(profile)
        assert unconfirmed.charge is not None
        assert bound_of(unconfirmed, unconfirmed.charge, POLICY).basis is PowerBasis.HARDWARE


def test_the_latency_is_assumed_at_its_worst_and_then_learned() -> None:
    assert latency_bound_s(None, POLICY) == latency_bound_s(ChargePointProfile(), POLICY) == WORST_S
    profile, bounds = ChargePointProfile(), [WORST_S]
    for _ in range(KEPT):
        profile = learned(profile, stopped(6.0), POLICY)
        bounds.append(latency_bound_s(profile, POLICY))
    assert bounds == sorted(bounds, reverse=True)
    assert 6.0 < bounds[-1] < 6.6


def test_a_longer_latency_widens_the_bound_at_once() -> None:
    profile = ChargePointProfile(stop_latencies_ms=(5_000,) * KEPT)
    assert latency_bound_s(profile, POLICY) < 6
    profile = learned(profile, stopped(20.0, profile=profile), POLICY)
    assert profile.stop_latencies_ms == (20_000,)
    assert latency_bound_s(profile, POLICY) >= 25


def test_a_stop_that_montas_limit_overtook_late_makes_the_latency_unknown_again() -> None:
    profile = ChargePointProfile(stop_latencies_ms=(5_000,) * KEPT)
    overtaken = stopped(9.0, profile=profile, reason="PriceLimitReached")
    assert learned(profile, overtaken, POLICY).stop_latencies_ms == ()
    in_time = stopped(3.0, profile=profile, reason="PriceLimitReached")
    assert learned(profile, in_time, POLICY).stop_latencies_ms == profile.stop_latencies_ms


@given(st.lists(st.integers(100, 60_000), min_size=1, max_size=KEPT))
def test_the_bound_is_above_everything_seen(latencies: list[int]) -> None:
    assert latency_bound_s(ChargePointProfile(stop_latencies_ms=tuple(latencies)), POLICY) * 1000 > max(
        latencies
    )


def test_the_usual_peak_of_a_charger_is_known_after_some_sessions() -> None:
    assert usual_peak_w(ChargePointProfile(peaks_w=(50_000,) * 2)) is None
    assert usual_peak_w(ChargePointProfile(peaks_w=(50_000, 48_000, 50_000, 40_000, 30_000))) == 55_000


def test_montas_limit_leaves_a_margin_for_its_own_reaction_and_for_fees_after_the_stop() -> None:
    known = tariff(("ENERGY", "0.50"), ("PARKING_TIME", "6.00"))
    kept = idle_fee_reserve_minor(known, 2000, "EUR", parked_s=300, most_share=Fraction(1, 10))
    assert kept == 50
    assert idle_fee_reserve_minor(known, 200, "EUR", parked_s=300, most_share=Fraction(1, 10)) == 20
    found = monta_limits_for(known, 2000, "EUR", idle_fee_reserve_minor=kept, reaction_wh=20)
    assert (found.price_limit, found.kwh_limit) == (Decimal("19.49"), Decimal("38.98"))
    less_than_half_a_cent = monta_limits_for(known, 2000, "EUR", idle_fee_reserve_minor=kept, reaction_wh=9)
    assert (less_than_half_a_cent.price_limit, less_than_half_a_cent.kwh_limit) == (
        Decimal("19.50"),
        Decimal(39),
    )


def test_a_limit_that_monta_shows_otherwise_is_reported_and_does_not_count_when_it_is_higher() -> None:
    change = apply_report(Change(session()), report(1, 0, price_limit=Decimal(25)), Source.MONTA_API, POLICY)
    told = [line for line in change.lines if line.kind == "limits_differ"]
    assert [line.detail["still_limits"] for line in told] == [False]


def test_the_expected_end_is_where_the_authorization_ends_at_the_power_of_now() -> None:
    end = expected_end(charging(), POLICY)
    assert end is not None
    exact = T0 + timedelta(seconds=40_000 / 11_000 * 3600)
    assert abs((end - exact).total_seconds()) < 0.03 * (exact - T0).total_seconds()


def test_an_authorization_below_montas_minimum_runs_on_the_watcher_alone_only_where_the_policy_says_so() -> (
    None
):
    small = monta_limits_for(tariff(("ENERGY", "0.50")), 80, "EUR")
    assert small.price_limit is None
    assert not admitted(small, tariff_known=True, small=SmallAuthorizations.REFUSE)
    assert admitted(small, tariff_known=True, small=SmallAuthorizations.WATCH)
    assert not admitted(small, tariff_known=False, small=SmallAuthorizations.WATCH)


def test_a_shortfall_names_its_likeliest_cause() -> None:
    plain = stopped(6.0)
    parked = replace(plain, tariff=tariff(("ENERGY", "0.50"), ("PARKING_TIME", "3.00")))
    unknown = replace(plain, monta_limits=None)
    assert [cause_of_shortfall(each) for each in (parked, unknown)] == ["fees_after_stop", "unknown"]


def test_a_session_without_a_measured_power_leaves_the_known_peaks() -> None:
    unmeasured = replace(charging(), meter_history=MeterHistory())
    before = ChargePointProfile(peaks_w=(11_000, 10_900))
    assert learned(before, unmeasured, POLICY).peaks_w == (11_000, 10_900)
    measured = learned(before, charging(), POLICY).peaks_w
    assert measured == (11_000, 10_900, charging().meter_history.peak_w)
