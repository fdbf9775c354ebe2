"""How reports move a payment session: what is ours is adopted or stopped, what is not is left alone."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.charging.charge import ChargeReport, ChargeState
from app.domain.session import monta_calls
from app.domain.session.machine import Change, Source
from app.domain.session.payment_session import PaymentSession, StartOutcome, Status, Stop, StopReason
from app.domain.session.reports import apply_report, apply_search_result
from app.domain.units.ids import ChargeId, ChargePointId
from tests.domain.sessions import POLICY, after, new_session, posted, report, reports, running

API, WEBHOOK = Source.MONTA_API, Source.MONTA_WEBHOOK
OTHER = ChargeId("2")


def told(change: Change, *news: ChargeReport, source: Source = WEBHOOK) -> Change:
    for each in news:
        change = apply_report(change, each, source, POLICY)
    return change


def kinds(change: Change) -> list[str]:
    return [line.kind for line in change.lines]


@pytest.mark.parametrize(
    "foreign",
    [
        {"partner_external_id": "ps_02"},
        {"charge_point_id": ChargePointId("999")},
    ],
)
def test_F24_a_charge_that_cannot_be_ours_is_left_alone_and_operations_alerted(
    foreign: dict[str, Any],
) -> None:
    change = told(posted(), report(**foreign))
    assert change.session.charge is None
    assert change.session.duplicates == ()
    assert change.session.status is Status.AUTHORIZED
    assert "left alone" in change.session.attention[0].detail


@given(st.datetimes(timezones=st.just(UTC)))
def test_F101_a_charge_with_our_reference_at_our_charge_point_is_ours_whatever_its_dates(
    at: datetime,
) -> None:
    odd = report(created_at=at, updated_at=at, started_at=at)
    for source in (API, WEBHOOK):
        assert told(posted(), odd, source=source).session.charge is not None
    assert monta_calls.start_accepted(posted(), odd, POLICY).session.charge is not None
    assert apply_search_result(posted(), [odd], at=after(40), policy=POLICY).session.charge is not None


def test_a_charge_with_our_reference_is_not_adopted_before_we_asked_for_one() -> None:
    change = told(Change(new_session()), report())
    assert change.session.charge is None
    assert [e.id for e in change.session.duplicates] == ["1"]


def test_the_first_report_adopts_and_brings_the_status_up_to_what_it_shows() -> None:
    assert told(posted(), report("starting")).session.status is Status.STARTING
    assert told(posted(), report("reserved")).session.status is Status.STARTING
    assert told(posted(), report("charging")).session.status is Status.CHARGING
    assert told(posted(), report("paused", energy_wh=10)).session.status is Status.CHARGING
    ended = told(posted(), report("completed", energy_wh=10, price=Decimal(1))).session
    assert (ended.status, ended.stop_reason) == (Status.FINISHING, StopReason.VEHICLE_OR_CHARGE_POINT)
    assert ended.start.outcome is StartOutcome.ACCEPTED


def test_an_adopted_charge_is_watched_for_others_until_the_duplicate_watch_ends() -> None:
    assert told(posted(), report()).session.watch_until == after(POLICY.duplicate_watch_s)


def test_a_second_charge_is_a_duplicate_and_its_state_follows_its_newest_report() -> None:
    change = told(running(), report(id=OTHER, at=20), report("stopped", 40, id=OTHER))
    late = told(change, report("charging", 30, id=OTHER))
    for each in (change, late):
        (duplicate,) = each.session.duplicates
        assert (duplicate.id, duplicate.state) == (OTHER, ChargeState.STOPPED)
        assert len(each.session.attention) == 1
        assert each.session.charge is not None
        assert each.session.charge.id == "1"


def test_the_oldest_charge_of_a_search_is_adopted_and_the_others_are_duplicates() -> None:
    found = [report(created_at=after(30)), report(id=OTHER, created_at=after(2))]
    change = apply_search_result(posted(), found, at=after(40), policy=POLICY)
    assert change.session.charge is not None
    assert change.session.charge.id == OTHER
    assert [e.id for e in change.session.duplicates] == ["1"]
    assert change.session.start.empty_at is None


def test_an_empty_search_counts_from_the_moment_of_asking() -> None:
    start = apply_search_result(posted(), [], at=after(40), policy=POLICY).session.start
    assert (start.empty_at, start.searched_at, start.searches) == (after(40), after(40), 1)
    assert start.outcome is StartOutcome.UNKNOWN


def test_F66a_a_restart_keeps_the_status_and_is_on_record() -> None:
    change = told(running(1000), report("stopped", 100, energy_wh=1000))
    restarted = told(change, report("charging", 120, energy_wh=1000))
    assert restarted.session.status is Status.FINISHING
    assert "charge_restarted" in kinds(restarted)


def test_a_stop_is_confirmed_by_the_first_report_of_an_end_and_keeps_its_reason() -> None:
    stop = Stop(reason=StopReason.LIMIT_REACHED, decided_at=after(50))
    before = running(1000)
    stopping = Change(replace(before.session, stop=stop, status=Status.STOPPING))
    session = told(stopping, report("stopping", 60), report("stopped", 70)).session
    assert (session.status, session.stop_reason) == (Status.FINISHING, StopReason.LIMIT_REACHED)
    assert session.stop is not None
    assert session.stop.confirmed_at == after(70)


def test_F48_a_meter_that_runs_backwards_is_on_record_and_the_peak_kept() -> None:
    change = told(running(3000, at=60), report(at=120, energy_wh=2000))
    assert change.session.energy_wh == 3000
    assert kinds(change).count("meter_ran_backwards") == 1


def test_an_old_report_is_no_meter_that_runs_backwards() -> None:
    change = told(running(3000, at=60), report(at=40, energy_wh=2000))
    assert "meter_ran_backwards" not in kinds(change)


def test_the_power_between_two_readings_is_remembered_at_its_highest() -> None:
    change = told(running(0, at=0), report(at=60, energy_wh=1000), report(at=120, energy_wh=1100))
    assert change.session.observed_max_w == 60_000


def released() -> Change:
    """Released while the charge was stopped, but not completed."""
    change = told(running(), report("stopped", 100))
    return Change(replace(change.session, status=Status.NOT_STARTED))


def test_F34_a_released_sessions_own_charge_that_runs_again_is_stopped_as_a_duplicate() -> None:
    change = told(released(), report("charging", 200))
    assert [(e.id, e.state) for e in change.session.duplicates] == [("1", ChargeState.CHARGING)]
    assert change.session.status is Status.NOT_STARTED


def test_F34_a_released_sessions_own_charge_that_ended_again_is_not_stopped_for_ever() -> None:
    change = told(released(), report("charging", 200), report("stopped", 220))
    assert [(e.id, e.state) for e in change.session.duplicates] == [("1", ChargeState.STOPPED)]


def test_news_of_an_ended_sessions_charge_that_stays_ended_makes_it_no_duplicate() -> None:
    change = told(released(), report("completed", 200))
    assert change.session.duplicates == ()
    assert change.session.attention == ()


@given(st.lists(reports, max_size=6), st.sampled_from([API, WEBHOOK]))
def test_no_report_whatsoever_raises_or_moves_a_status_back(news: list[ChargeReport], source: Source) -> None:
    ranks = list(Status)
    change = posted()
    for each in news:
        before: PaymentSession = change.session
        change = apply_report(change, each, source, POLICY)
        assert ranks.index(change.session.status) >= ranks.index(before.status)
        assert change.session.energy_wh >= before.energy_wh
        assert before.charge is None or change.session.charge is not None
        assert change.session.status not in (Status.COMPLETED, Status.NOT_STARTED)
