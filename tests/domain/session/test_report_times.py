"""Tests of app/domain/session/reports.

Monta's times beside ours: no date, however absurd, disowns, ends, releases or bills anything by itself.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.charging.charge import Charge, ChargeReport, ChargeState
from app.domain.session import monta_calls
from app.domain.session.limit import amount_used_minor, limit_at, reading_of
from app.domain.session.machine import Change, GiveUp, SendStart, SendStop, Source, Wait
from app.domain.session.next_step import decide
from app.domain.session.payment_session import PaymentSession, StartOutcome
from app.domain.session.plausibility import last_believed
from app.domain.session.reports import apply_report, apply_search_result
from app.domain.tariff import Reading, parse_tariff, time_windows, upper_bound
from app.domain.tariff.lower_bound import lower_bound
from app.domain.tariff.model import LONGEST_SESSION
from app.domain.units.ids import ChargePointId
from tests.domain.sessions import POLICY, after, posted, report, running

API, WEBHOOK = Source.MONTA_API, Source.MONTA_WEBHOOK
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
absurd = st.sampled_from([FIRST, datetime(1970, 1, 1, tzinfo=UTC), LAST]) | st.datetimes(
    timezones=st.just(UTC)
)
NAMES = ("created_at", "updated_at", "started_at", "stopped_at", "completed_at", "failed_at")
dates = st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, st.none() | absurd))
BY_THE_HOUR = parse_tariff(
    {
        "id": "t",
        "currency": "EUR",
        "elements": [
            {
                "price_components": [
                    {"type": "ENERGY", "price": "0.50", "step_size": 1},
                    {"type": "TIME", "price": "3.00", "step_size": 60},
                ],
                "restrictions": {"start_time": "08:00", "end_time": "20:00"},
            },
            {"price_components": [{"type": "ENERGY", "price": "0.30", "step_size": 1}]},
        ],
    }
)
ZONE = ZoneInfo("Europe/Copenhagen")
CALENDAR = (FIRST + timedelta(days=200), LAST - timedelta(days=200))
MONTA = [timedelta(minutes=-10), timedelta(minutes=10), timedelta(seconds=-121), timedelta(hours=-5)]


def charge_of(session: PaymentSession) -> Charge:
    assert session.charge is not None
    return session.charge


def kinds(change: Change) -> list[str]:
    return [line.kind for line in change.lines]


def shifted(told: ChargeReport, by: timedelta) -> ChargeReport:
    """The time as written by a clock that is off by this much; when it was seen is by ours."""
    moved = {name: at + by for name in NAMES if (at := getattr(told, name)) is not None}
    return replace(told, **moved)


@pytest.mark.parametrize("by", MONTA)
def test_F101_the_clock_difference_is_reported_once_and_counted_with(by: timedelta) -> None:
    begun = monta_calls.start_accepted(posted(), shifted(report("starting", 2), by), POLICY)
    ahead_s = begun.session.start.monta_ahead_s
    if by > timedelta():
        assert by.total_seconds() - POLICY.answer_s - 3 < ahead_s <= by.total_seconds()
    else:
        assert by.total_seconds() <= ahead_s <= by.total_seconds() + 3
    change = begun
    for at in (60, 120, 180):
        told = shifted(report("charging", at, energy_wh=at * 10), by)
        change = apply_report(change, told, API, POLICY)
    assert kinds(change).count("monta_clock_differs") == 1
    assert "impossible_time_left_out" not in kinds(change)
    charge = charge_of(change.session)
    assert after(145) <= charge.energy_at <= after(180), "a reading is as old as it is by our clock"
    assert reading_of(change.session, charge, POLICY).started_at >= after(0)


@pytest.mark.parametrize("by", MONTA)
def test_F101_a_slow_or_fast_clock_ends_no_charge_early(by: timedelta) -> None:
    """Beside the same charge under a right clock, the stop at the limit comes half a minute earlier at most."""
    stops = []
    for off in (timedelta(), by):
        change = monta_calls.start_accepted(posted(), shifted(report("starting", 2), off), POLICY)
        for at in (60, 120, 180):
            told = shifted(report("charging", at, energy_wh=at * 5, arrived_at=after(at)), off)
            seen_at = min(after(at), told.updated_at or after(at))
            change = apply_report(change, replace(told, seen_at=seen_at), WEBHOOK, POLICY)
        stops.append(limit_at(change.session, charge_of(change.session), POLICY))
    right, wrong = stops
    assert right is not None
    assert wrong is not None
    assert abs(wrong - right) <= timedelta(seconds=POLICY.answer_s + 5)


@given(dates)
def test_F102_no_date_of_montas_starts_ends_or_releases_anything_by_itself(
    odd: dict[str, datetime | None],
) -> None:
    change = running(500, 60)
    told = report("charging", 90, energy_wh=700, **odd)
    change = apply_report(change, told, API, POLICY)
    charge = charge_of(change.session)
    assert charge.state is ChargeState.CHARGING
    step = decide(change.session, POLICY, after(91))
    assert not isinstance(step, SendStop | GiveUp), "30 Wh of 25 kWh are used"


@given(dates, st.sampled_from(["starting", "charging", "paused"]))
def test_F102_a_first_report_with_any_dates_leaves_the_time_for_the_first_energy(
    odd: dict[str, datetime | None], state: str
) -> None:
    change = apply_report(posted(), report(state, 10, energy_wh=0, **odd), API, POLICY)
    for at in (11, 100, POLICY.start_deadline_s - 1):
        assert not isinstance(decide(change.session, POLICY, after(at)), SendStop | GiveUp)
    if state == "charging":
        slow = POLICY.start_deadline_s * POLICY.first_energy_factor
        assert not isinstance(decide(change.session, POLICY, after(slow - 1)), SendStop | GiveUp)
    late = decide(change.session, POLICY, after(10 * POLICY.start_deadline_s))
    assert isinstance(late, SendStop), "and not for ever"


@given(dates)
def test_F102_no_date_bills_a_minute_that_our_own_clock_has_not_seen(odd: dict[str, datetime | None]) -> None:
    """1 kWh in half an hour comes to 2.00 at most by the tariff; no dates of Montas make it more."""
    begun = running(500, 60, tariff=BY_THE_HOUR)
    told = report("completed", 1800, energy_wh=1000, price=None, **odd)
    change = apply_report(begun, told, API, POLICY)
    amount, _ = last_believed(change.session, charge_of(change.session), POLICY)
    assert (amount or 0) <= 200 + 5 * POLICY.answer_s / 60


@given(dates, absurd)
def test_F102_times_are_brought_between_the_session_and_the_answer(
    odd: dict[str, datetime | None], seen_at: datetime
) -> None:
    told = report("stopped", 90, energy_wh=700, **odd)
    event = replace(told, seen_at=min(seen_at, after(95)), arrived_at=after(95))
    change = apply_report(running(500, 60), event, WEBHOOK, POLICY)
    charge = charge_of(change.session)
    answered_by = after(95 + POLICY.answer_s)
    latest = charge.latest
    for at in (latest.started_at, latest.stopped_at, latest.completed_at, latest.failed_at):
        assert at is None or after(0) <= at <= answered_by
    assert after(0) <= charge.energy_at <= charge.seen_at <= after(95)
    if latest.state is ChargeState.STOPPED:
        assert (latest.failed_at is None) == (odd.get("failed_at") is None)


@given(dates)
def test_F102_an_absurd_date_does_not_blind_us_to_what_follows(odd: dict[str, datetime | None]) -> None:
    change = apply_report(running(500, 60), report("charging", 90, energy_wh=600, **odd), API, POLICY)
    change = apply_report(change, report("stopped", 120, energy_wh=900), API, POLICY)
    assert charge_of(change.session).state is ChargeState.STOPPED


def test_F102_each_kind_of_time_that_cannot_be_is_reported_once() -> None:
    change = running(500, 60)
    for at in (90, 120):
        told = report("charging", at, energy_wh=10 * at, started_at=FIRST, created_at=LAST)
        change = apply_report(change, told, API, POLICY)
    (line,) = [line for line in change.lines if line.kind == "impossible_time_left_out"]
    assert line.detail["times"] == "created_at, started_at"
    assert charge_of(change.session).latest.created_at is None


# What an odd date costs


@given(dates, dates)
def test_F102_no_odd_date_makes_a_decision_look_at_more_days_than_our_own_clock_has_seen(
    odd: dict[str, datetime | None], final: dict[str, datetime | None]
) -> None:
    time_windows._instants.cache_clear()
    change = running(500, 60, tariff=BY_THE_HOUR)
    change = apply_report(change, report("charging", 90, energy_wh=700, price=Decimal(1), **odd), API, POLICY)
    decide(change.session, POLICY, after(91))
    amount_used_minor(change.session, POLICY)
    over = report("completed", 1800, energy_wh=900, price=Decimal(1), **final)
    change = apply_report(change, over, API, POLICY)
    decide(change.session, POLICY, after(1801))
    last_believed(change.session, charge_of(change.session), POLICY)
    assert time_windows._instants.cache_info().misses <= 5, (
        "today, the horizon of two days, and what lies around"
    )


@given(absurd, absurd, absurd)
def test_F102_a_tariff_looks_at_two_months_at_most_whatever_it_is_asked(
    started_at: datetime, at: datetime, until: datetime
) -> None:
    time_windows._instants.cache_clear()
    # The last and first days of the calendar themselves cannot be shown in every zone.
    at, until = (min(max(each, CALENDAR[0]), CALENDAR[1]) for each in (at, until))
    reading = Reading(started_at=started_at, at=at, energy_wh=1000)
    upper_bound(BY_THE_HOUR, reading, until, 50_000, ZONE)
    lower_bound(BY_THE_HOUR, reading, ZONE)
    assert time_windows._instants.cache_info().misses <= 2 * (LONGEST_SESSION.days + 2)


# Charges elsewhere


ELSEWHERE = report("charging", 10, charge_point_id=ChargePointId("999"), energy_wh=300)


def test_F108_a_search_that_finds_only_what_is_not_ours_found_nothing() -> None:
    change = posted()
    for at in (2, 60, 125):
        change = apply_search_result(change, [ELSEWHERE], at=after(at), policy=POLICY)
    assert change.session.charge is None
    assert change.session.start.empty_at == after(125)
    assert len(change.session.attention) == 1
    step = decide(change.session, POLICY, after(126))
    assert step == Wait(change.session.start.deadline), "no second POST, for it might end there too"
    change = apply_search_result(change, [ELSEWHERE], at=after(300), policy=POLICY)
    assert isinstance(decide(change.session, POLICY, after(301)), GiveUp)


def test_F108_what_is_ours_is_found_beside_what_is_not() -> None:
    change = apply_search_result(
        posted(), [ELSEWHERE, replace(report(), id=ELSEWHERE.id)], at=after(9), policy=POLICY
    )
    assert change.session.charge is not None


def test_F108_a_start_that_monta_made_elsewhere_is_stopped_and_the_hold_released() -> None:
    change = monta_calls.start_accepted(posted(), ELSEWHERE, POLICY)
    session = change.session
    assert session.charge is None
    assert [duplicate.id for duplicate in session.duplicates] == [ELSEWHERE.id]
    assert session.start.outcome is StartOutcome.REFUSED
    assert isinstance(decide(session, POLICY, after(3)), GiveUp)


def test_F108_no_unknown_start_outlives_its_hold_and_searches_back_off() -> None:
    session, searches, now = posted().session, 0, after(0)
    while not isinstance(step := decide(session, POLICY, now), GiveUp):
        assert not isinstance(step, SendStart)
        if isinstance(step, Wait):
            assert step.until is not None
            now = step.until
            continue
        change = monta_calls.search_failed(
            Change(session), "not all rows could be read", now=now, not_before=now, policy=POLICY
        )
        session, searches = change.session, searches + 1
        if now <= after(3600):
            assert searches <= 60
    assert now <= after(POLICY.hold_days * 86_400)
    assert searches <= POLICY.hold_days * 24 * 60


def test_F108_an_unending_duplicate_charge_is_stopped_more_and_more_seldom() -> None:
    change = apply_report(running(), report(id=ELSEWHERE.id, at=20), API, POLICY)
    change = apply_search_result(
        change, [report("charging", 30), report(id="2", at=30)], at=after(30), policy=POLICY
    )
    calls, session = 0, change.session
    for duplicate in session.duplicates:
        now = after(40)
        while now < after(40 + 3600):
            stopped = monta_calls.duplicate_stop_intended(
                Change(session), duplicate.id, now=now, policy=POLICY
            )
            session, calls = stopped.session, calls + 1
            (known,) = [e for e in session.duplicates if e.id == duplicate.id]
            assert known.next_at is not None
            now = known.next_at
    assert 0 < calls <= 30
