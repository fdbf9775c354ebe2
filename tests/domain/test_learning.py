"""What readings and settled sessions teach: meters, power, stop latency, whether Monta keeps its limits."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.change import Change, Source
from app.domain.charge import ChargeReport, ChargeState
from app.domain.guards import admitted, guards, kept_back_minor
from app.domain.habits import Habits, latency_bound_s, usual_peak_w
from app.domain.ids import ChargeId, ChargePointId, OperatorId, SessionId, TerminalId
from app.domain.learning import KEPT, learned
from app.domain.limit_watch import expected_end, start_limits
from app.domain.meter import Trail, followed
from app.domain.payment_session import Authorization, PaymentSession, Start, Stop, StopReason
from app.domain.policy import Policy, SmallReservations
from app.domain.power_bound import PowerBasis, bound_of
from app.domain.progress import absorb
from app.domain.shortfall import cause_of_shortfall
from app.domain.tariff import Tariff, parse_tariff

T0 = datetime(2026, 11, 22, 10, tzinfo=UTC)
POLICY = Policy()
WORST_S = POLICY.stop_latency_s * POLICY.unknown_latency_factor


def tariff(*parts: tuple[str, str]) -> Tariff:
    listed = [{"type": kind, "price": price, "step_size": 1} for kind, price in parts]
    return parse_tariff(
        {"id": "t", "currency": "EUR", "tax_included": "YES", "elements": [{"price_components": listed}]}
    )


def trail_of(power_w: int, every_s: int, count: int, *, trail: Trail | None = None, from_s: int = 0) -> Trail:
    trail = trail or Trail()
    start_wh = trail.points[-1].energy_wh if trail.points else 0
    for i in range(1, count + 1):
        energy_wh = start_wh + round(power_w * every_s * i / 36_000) * 10
        trail = followed(trail, T0 + timedelta(seconds=from_s + every_s * i), energy_wh)
    return trail


def session(habits: Habits | None = None) -> PaymentSession:
    made = PaymentSession(
        id=SessionId("ps_1"),
        operator_id=OperatorId("op"),
        terminal_id=TerminalId("trm"),
        charge_point_id=ChargePointId("1"),
        display_reference="K7QM-4TXP",
        authorization=Authorization(reference="A", amount_minor=2000, currency="EUR"),
        created_at=T0,
        updated_at=T0,
        start=Start(deadline=T0 + timedelta(minutes=5), posts=1, intent_at=T0),
        power_bound_w=22_000,
        habits=habits or Habits(),
        tariff=tariff(("ENERGY", "0.50")),
    )
    return replace(made, limits=start_limits(made, POLICY))


def report(
    seconds: float,
    energy_wh: int,
    state: ChargeState = ChargeState.CHARGING,
    *,
    price_limit: Decimal | None = None,
    kwh_limit: Decimal | None = None,
) -> ChargeReport:
    at = T0 + timedelta(seconds=seconds)
    return ChargeReport(
        id=ChargeId("9"),
        state=state,
        seen_at=at,
        updated_at=at,
        energy_wh=energy_wh,
        started_at=T0,
        price_limit=price_limit,
        kwh_limit=kwh_limit,
    )


def charging(habits: Habits | None = None, *, guarded: bool = True) -> PaymentSession:
    """Ten minutes at 11 kW, read each minute."""
    found = session(habits)
    limits = found.limits
    assert limits is not None
    price, kwh = (limits.price_limit, limits.kwh_limit) if guarded else (None, None)
    for minute in range(11):
        news = report(minute * 60, round(183.33 * minute / 10) * 10, price_limit=price, kwh_limit=kwh)
        found = absorb(Change(found), news, Source.MONTA_WEBHOOK, POLICY).session
    return found


def stopped(after_s: float, *, habits: Habits | None = None, reason: str = "api") -> PaymentSession:
    """The charge above, stopped by us 5 s after its last reading; the energy ended `after_s` later."""
    found = replace(
        charging(habits), stop=Stop(reason=StopReason.LIMIT_REACHED, decided_at=T0 + timedelta(seconds=605))
    )
    ended = T0 + timedelta(seconds=605 + after_s)
    final_wh = 1830 + int((5 + after_s) * 11_000 / 3600)
    news = replace(
        report(700 + after_s, final_wh, ChargeState.COMPLETED),
        stopped_at=ended,
        stop_reason=reason,
        price=Decimal("1.00"),
    )
    return absorb(Change(found), news, Source.MONTA_API, POLICY).session


@pytest.mark.parametrize("every_s", [10, 60, 300])
def test_a_regular_meter_is_understood_even_when_readings_get_lost(every_s: int) -> None:
    trail = trail_of(11_000, every_s, 3)
    trail = trail_of(11_000, every_s * 3, 1, trail=trail, from_s=every_s * 3)
    assert trail.interval_ms == every_s * 1000


def test_a_meter_that_reports_whole_kwh_is_not_taken_for_a_clock() -> None:
    trail = Trail()
    for i in range(1, 6):
        trail = followed(trail, T0 + timedelta(seconds=327 * i), 1000 * i)
    assert (trail.interval_ms, trail.step_wh) == (None, 1000)


@pytest.mark.parametrize("every_s", [10, 60, 300])
@pytest.mark.parametrize("power_w", [3_700, 11_000, 50_000, 150_000])
def test_a_steady_power_is_bounded_closely_and_from_above(power_w: int, every_s: int) -> None:
    shown_w = trail_of(power_w, every_s, 20).shown_w
    assert shown_w is not None
    assert power_w <= shown_w <= power_w * 1.025 + 350


def test_power_that_rises_as_no_battery_asks_for_is_that_of_a_shared_charger() -> None:
    trail = trail_of(3_700, 60, 10)
    assert not trail.jumped
    assert trail_of(22_000, 60, 1, trail=trail, from_s=600).jumped


def test_a_power_that_fell_is_taken_to_come_back_for_a_while() -> None:
    trail = trail_of(11_000, 60, 10)
    throttled = trail_of(4_000, 60, 1, trail=trail, from_s=600)
    assert (throttled.held_back, throttled.held_w > 11_000) == (2, True)
    assert trail_of(4_000, 60, 3, trail=throttled, from_s=660).held_back == 0


@given(st.permutations(range(1, 9)))
def test_readings_that_come_shuffled_leave_a_trail_in_order(order: list[int]) -> None:
    trail = Trail()
    for i in order:
        trail = followed(trail, T0 + timedelta(seconds=60 * i), 180 * i)
    assert list(trail.points) == sorted(trail.points, key=lambda p: p.at)
    assert [p.energy_wh for p in trail.points] == sorted({p.energy_wh for p in trail.points})
    assert trail.points[-1].energy_wh == 180 * 8


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
    habits = Habits(stop_latencies_ms=(4_000,) * 10, limit_prompt=1)
    unproven = replace(habits, limit_prompt=0)
    known, alone, untried = charging(habits), charging(habits, guarded=False), charging(unproven)
    assert known.charge is not None
    assert alone.charge is not None
    assert untried.charge is not None
    assert bound_of(known, known.charge, POLICY).latency_s < 5
    assert bound_of(alone, alone.charge, POLICY).latency_s == WORST_S
    assert bound_of(untried, untried.charge, POLICY).latency_s == WORST_S


def test_a_charger_that_gave_way_once_or_a_limit_that_was_missed_is_not_trusted() -> None:
    for habits in (Habits(shares_power=3), Habits(limit_missed=3)):
        doubted = charging(habits)
        assert doubted.charge is not None
        assert bound_of(doubted, doubted.charge, POLICY).basis is PowerBasis.HARDWARE


def test_the_latency_is_assumed_at_its_worst_and_then_learned() -> None:
    assert latency_bound_s(None, POLICY) == latency_bound_s(Habits(), POLICY) == WORST_S
    habits, bounds = Habits(), [WORST_S]
    for _ in range(KEPT):
        habits = learned(habits, stopped(6.0), POLICY)
        bounds.append(latency_bound_s(habits, POLICY))
    assert bounds == sorted(bounds, reverse=True)
    assert 6.0 < bounds[-1] < 6.6


def test_a_longer_latency_widens_the_bound_at_once() -> None:
    habits = Habits(stop_latencies_ms=(5_000,) * KEPT)
    assert latency_bound_s(habits, POLICY) < 6
    habits = learned(habits, stopped(20.0, habits=habits), POLICY)
    assert habits.stop_latencies_ms == (20_000,)
    assert latency_bound_s(habits, POLICY) >= 25


def test_a_stop_that_montas_limit_overtook_late_makes_the_latency_unknown_again() -> None:
    habits = Habits(stop_latencies_ms=(5_000,) * KEPT)
    overtaken = stopped(9.0, habits=habits, reason="PriceLimitReached")
    assert learned(habits, overtaken, POLICY).stop_latencies_ms == ()
    in_time = stopped(3.0, habits=habits, reason="PriceLimitReached")
    assert learned(habits, in_time, POLICY).stop_latencies_ms == habits.stop_latencies_ms


@given(st.lists(st.integers(100, 60_000), min_size=1, max_size=KEPT))
def test_the_bound_is_above_everything_seen(latencies: list[int]) -> None:
    assert latency_bound_s(Habits(stop_latencies_ms=tuple(latencies)), POLICY) * 1000 > max(latencies)


def test_the_usual_peak_of_a_charger_is_known_after_some_sessions() -> None:
    assert usual_peak_w(Habits(peaks_w=(50_000,) * 2)) is None
    assert usual_peak_w(Habits(peaks_w=(50_000, 48_000, 50_000, 40_000, 30_000))) == 55_000


def test_montas_limit_leaves_room_for_its_own_reaction_and_for_fees_after_the_stop() -> None:
    known = tariff(("ENERGY", "0.50"), ("PARKING_TIME", "6.00"))
    kept = kept_back_minor(known, 2000, "EUR", parked_s=300, most_share=Fraction(1, 10))
    assert kept == 50
    assert kept_back_minor(known, 200, "EUR", parked_s=300, most_share=Fraction(1, 10)) == 20
    found = guards(known, 2000, "EUR", kept_back_minor=kept, reaction_wh=20)
    assert (found.price_limit, found.kwh_limit) == (Decimal("19.49"), Decimal("38.98"))
    less_than_half_a_cent = guards(known, 2000, "EUR", kept_back_minor=kept, reaction_wh=9)
    assert (less_than_half_a_cent.price_limit, less_than_half_a_cent.kwh_limit) == (
        Decimal("19.50"),
        Decimal(39),
    )


def test_a_limit_that_monta_shows_otherwise_is_told_and_does_not_count_when_it_is_higher() -> None:
    change = absorb(Change(session()), report(1, 0, price_limit=Decimal(25)), Source.MONTA_API, POLICY)
    told = [line for line in change.lines if line.kind == "limits_differ"]
    assert [line.detail["still_guards"] for line in told] == [False]


def test_the_expected_end_is_where_the_reservation_ends_at_the_power_of_now() -> None:
    end = expected_end(charging(), POLICY)
    assert end is not None
    exact = T0 + timedelta(seconds=40_000 / 11_000 * 3600)
    assert abs((end - exact).total_seconds()) < 0.03 * (exact - T0).total_seconds()


def test_a_reservation_below_montas_least_runs_on_the_watcher_alone_only_where_the_policy_says_so() -> None:
    small = guards(tariff(("ENERGY", "0.50")), 80, "EUR")
    assert small.price_limit is None
    assert not admitted(small, tariff_known=True, small=SmallReservations.REFUSE)
    assert admitted(small, tariff_known=True, small=SmallReservations.WATCH)
    assert not admitted(small, tariff_known=False, small=SmallReservations.WATCH)


def test_a_shortfall_names_its_likeliest_cause() -> None:
    plain = stopped(6.0)
    parked = replace(plain, tariff=tariff(("ENERGY", "0.50"), ("PARKING_TIME", "3.00")))
    unknown = replace(plain, limits=None)
    assert [cause_of_shortfall(each) for each in (parked, unknown)] == ["fees_after_stop", "unknown"]
