"""What is done next: total over every course of events, and never a POST that could make a second charge."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given

from app.domain.charging.charge import ENDED
from app.domain.session import monta_calls
from app.domain.session.attention import AttentionCode
from app.domain.session.limit import amount_used_minor
from app.domain.session.machine import (
    Change,
    GiveUp,
    ReadCharge,
    SearchCharges,
    SendStart,
    SendStop,
    Settle,
    Source,
    StopDuplicate,
    Wait,
)
from app.domain.session.next_step import decide
from app.domain.session.payment_session import (
    Authorization,
    NotStartedReason,
    PaymentSession,
    Status,
    StopReason,
    StopRequest,
)
from app.domain.session.plausibility import unbillable
from app.domain.session.reports import apply_report, apply_search_result
from app.domain.session.settlement import SettlementAction
from app.domain.units.ids import ChargeId
from tests.domain.sessions import (
    ONE,
    POLICY,
    T0,
    Event,
    Turn,
    after,
    courses,
    new_session,
    play,
    posted,
    report,
    running,
    step_at,
)

STOP_REQUEST = StopRequest(reason=StopReason.DRIVER, at=T0)
QUIET_S = POLICY.send_guard_s + POLICY.quiet_window_s
"""The POST of a decision may leave until the send guard ends, and the quiet window begins there."""
RANKS = list(Status)


@given(courses)
def test_whatever_happens_there_is_a_next_step_and_no_step_is_forbidden(course: list[Event]) -> None:
    played = play(course)
    for ahead_s in (0, 1, 59, 3600, 10_000_000):
        step = decide(played.session, POLICY, played.now + timedelta(seconds=ahead_s))
        assert not isinstance(step, Wait) or step.until is None or step.until.tzinfo is not None


@given(courses)
def test_no_start_is_sent_within_the_quiet_window_nor_with_a_charge_nor_after_the_end_F115(
    course: list[Event],
) -> None:
    played = play(course)
    for one, other in pairwise(played.posts_at):
        latest = one + timedelta(seconds=POLICY.send_guard_s)
        assert other - latest >= timedelta(seconds=POLICY.quiet_window_s), "however late the first one left"
    assert len(played.posts_at) <= POLICY.max_ambiguous_posts
    for session, step in played.steps:
        if isinstance(step, SendStart):
            assert session.charge is None
            assert not session.ended
            assert session.stop_request is None
        if session.ended:
            assert isinstance(step, SearchCharges | ReadCharge | StopDuplicate | Wait)


@given(courses)
def test_statuses_and_meters_never_fall_and_a_settlement_never_changes(course: list[Event]) -> None:
    for before, later in pairwise([new_session(), *play(course).history]):
        assert RANKS.index(later.status) >= RANKS.index(before.status)
        assert later.energy_wh >= before.energy_wh
        assert before.settlement in (None, later.settlement)
        assert later.ended == (later.settlement is not None)
        assert before.stop_reason in (None, later.stop_reason) or later.status is Status.NOT_STARTED
        closing = {
            AttentionCode.OTHER_CURRENCY,
            AttentionCode.STOP_UNCONFIRMED,
            AttentionCode.RAN_ON,
            AttentionCode.DUPLICATE_CHARGE_RUNS,
        }
        lasting = {item for item in before.attention if item.code not in closing}
        assert lasting <= set(later.attention)


def check_settlement(session: PaymentSession) -> None:
    made = session.settlement
    assert made is not None
    assert made.to_capture_minor + made.to_release_minor == session.authorization.amount_minor
    if session.status is Status.NOT_STARTED:
        assert made.action is SettlementAction.RELEASE
        assert session.not_started_reason is not None
        assert session.stop_reason is None
    else:
        assert session.stop_reason is not None
        assert session.not_started_reason is None


@given(courses)
def test_settlements_add_up_and_rest_on_a_final_record_that_can_be_billed(course: list[Event]) -> None:
    played = play(course)
    if played.session.settlement is not None:
        check_settlement(played.session)
    for session, step in played.steps:
        if isinstance(step, Settle):
            charge = session.charge
            assert charge is not None
            assert charge.final_read
            assert unbillable(session, charge, POLICY) is None
        if isinstance(step, GiveUp) and session.charge is not None:
            assert session.charge.ended
            assert session.energy_wh == 0


@given(courses)
def test_the_amount_shown_is_never_negative_nor_above_the_authorization(course: list[Event]) -> None:
    for session in play(course).history:
        assert 0 <= amount_used_minor(session, POLICY) <= session.authorization.amount_minor


@given(courses)
def test_once_monta_only_repeats_that_all_has_ended_the_session_comes_to_rest(course: list[Event]) -> None:
    played = play(course)
    final = report("completed", 0, energy_wh=10, price=Decimal(1), updated_at=None)
    quiet = Turn(post="refused", fails=False, found=(final,))
    for _ in range(400):
        if decide(played.session, POLICY, played.now) == Wait(None):
            break
        played.play(quiet)
    unbilled = played.session.charge and unbillable(played.session, played.session.charge, POLICY)
    assert played.session.ended or unbilled
    if not unbilled:
        check_settlement(played.session)
        assert decide(played.session, POLICY, played.now) == Wait(None)
        assert all(duplicate.state in ENDED for duplicate in played.session.duplicates)


# Starting


def test_a_new_session_is_started_at_once() -> None:
    assert step_at(new_session(), 0) == SendStart()


def test_a_cancel_before_the_start_gives_up_at_once() -> None:
    assert step_at(new_session(stop_request=STOP_REQUEST), 0) == GiveUp(NotStartedReason.CANCELED)


def test_a_session_found_only_after_its_deadline_is_not_started_any_more() -> None:
    assert step_at(new_session(), POLICY.start_deadline_s) == GiveUp(NotStartedReason.START_TIMEOUT)


def test_a_refusal_gives_up() -> None:
    session = monta_calls.start_refused(posted(), "400").session
    assert step_at(session, 1) == GiveUp(NotStartedReason.REFUSED)


def test_a_start_without_effect_waits_for_its_retry_and_for_the_deadline_at_most() -> None:
    session = monta_calls.start_not_done(posted(), "429", retry_at=after(20)).session
    assert step_at(session, 5) == Wait(after(20))
    assert step_at(session, 20) == SendStart()
    never = monta_calls.start_not_done(posted(), "429", retry_at=after(3600)).session
    assert step_at(never, 5) == Wait(after(POLICY.start_deadline_s))
    assert step_at(never, 300) == GiveUp(NotStartedReason.START_TIMEOUT)


def test_searches_for_an_unknown_start_back_off_and_one_is_made_at_the_end_of_the_quiet_window() -> None:
    session, at, searches = posted().session, 0.0, []
    while True:
        found = decide(session, POLICY, after(at))
        if isinstance(found, Wait):
            assert found.until is not None
            at = (found.until - T0).total_seconds()
            continue
        if not isinstance(found, SearchCharges):
            break
        searches.append(at)
        session = apply_search_result(Change(session), [], at=after(at), policy=POLICY).session
    assert searches == [2, 5, 10, 20, 40, 60, 80, 100, QUIET_S]
    assert found == SendStart()


def test_a_failing_search_leaves_the_start_unknown() -> None:
    session = posted().session
    for at in range(2, 900, 30):
        change = monta_calls.search_failed(
            Change(session), "503", now=after(at), not_before=after(at), policy=POLICY
        )
        session = change.session
        found = step_at(session, at + 29)
        assert isinstance(found, Wait | SearchCharges)


def test_after_two_posts_unknown_none_is_sent_any_more() -> None:
    change = apply_search_result(posted(), [], at=after(QUIET_S), policy=POLICY)
    change = monta_calls.start_intended(change, after(QUIET_S + 1), POLICY)
    change = apply_search_result(change, [], at=after(2 * QUIET_S + 1), policy=POLICY)
    assert step_at(change.session, 2 * QUIET_S + 1) == Wait(after(300))
    assert step_at(change.session, 300) == SearchCharges(), (
        "the look of a minute ago is too old to release a hold by"
    )
    failed = monta_calls.search_failed(change, "503", now=after(300), not_before=after(301), policy=POLICY)
    assert step_at(failed.session, 302) == Wait(after(310))
    assert step_at(failed.session, 310) == SearchCharges()
    change = apply_search_result(change, [], at=after(300), policy=POLICY)
    assert step_at(change.session, 301) == GiveUp(NotStartedReason.START_TIMEOUT)
    assert step_at(change.session, 325) == GiveUp(NotStartedReason.START_TIMEOUT), (
        "Monta may take 20 s to answer"
    )
    assert step_at(change.session, 400) == SearchCharges()


# Running


def test_a_stop_request_is_fulfilled_at_once() -> None:
    assert step_at(running(1000, stop_request=STOP_REQUEST).session, 11) == SendStop(StopReason.DRIVER)


def test_no_energy_by_the_deadline_is_a_late_start() -> None:
    change = monta_calls.start_accepted(posted(), report("starting", 2), POLICY)
    change = apply_report(change, report("starting", 299), Source.MONTA_WEBHOOK, POLICY)
    assert isinstance(step_at(change.session, 299), Wait)
    assert step_at(change.session, 300) == SendStop(StopReason.LATE_START)


def test_a_charge_that_monta_calls_charging_may_wait_longer_for_its_first_reading() -> None:
    session = running(0, at=299).session
    assert step_at(session, 301) != SendStop(StopReason.LATE_START)
    late = apply_report(Change(session), report(at=1300, energy_wh=0), Source.MONTA_API, POLICY).session
    assert step_at(late, 1301) == SendStop(StopReason.LATE_START)


@pytest.mark.parametrize(("hold_s", "margin_s"), [(7200, 600), (3600, 360), (86_400, 600)])
def test_a_charge_is_stopped_before_its_hold_expires_with_a_margin_that_short_holds_shorten(
    hold_s: int, margin_s: int
) -> None:
    held = Authorization(reference="A", amount_minor=2000, currency="EUR", expires_at=after(hold_s))
    due = hold_s - margin_s
    change = running(10, at=due - 2, authorization=held)
    paused = apply_report(change, report("paused", due - 1, energy_wh=10), Source.MONTA_API, POLICY).session
    assert step_at(paused, due - 1) != SendStop(StopReason.HOLD_EXPIRING)
    assert step_at(paused, due) == SendStop(StopReason.HOLD_EXPIRING)


def test_a_stop_unknown_is_read_before_it_is_repeated() -> None:
    change = monta_calls.stop_intended(running(10), StopReason.DRIVER, now=after(20), policy=POLICY)
    assert step_at(change.session, 21) == Wait(after(30))
    assert step_at(change.session, 30) == ReadCharge(ONE)
    still = monta_calls.read(change, report(at=30, energy_wh=20), now=after(30), policy=POLICY)
    assert step_at(still.session, 30) == SendStop(StopReason.DRIVER)
    blind = monta_calls.read_failed(change, "503", now=after(30), not_before=None, policy=POLICY)
    assert step_at(blind.session, 30) == SendStop(StopReason.DRIVER)


def test_a_charge_restarted_after_its_end_is_stopped_at_once() -> None:
    change = apply_report(running(10), report("stopped", 50, energy_wh=10), Source.MONTA_WEBHOOK, POLICY)
    change = apply_report(change, report("charging", 60, energy_wh=10), Source.MONTA_WEBHOOK, POLICY)
    assert step_at(change.session, 60) == SendStop(StopReason.VEHICLE_OR_CHARGE_POINT)


# Ending


def ended(state: str = "completed", **more: object) -> PaymentSession:
    change = apply_report(running(), report(state, 100, **more), Source.MONTA_API, POLICY)
    return change.session


def test_a_completed_charge_is_settled_by_the_record_only() -> None:
    final = report("completed", 100, energy_wh=3000, price=Decimal("2.37"))
    by_webhook = apply_report(running(), final, Source.MONTA_WEBHOOK, POLICY)
    assert step_at(by_webhook.session, 100) == ReadCharge(ONE)
    assert step_at(ended(energy_wh=3000, price=Decimal("2.37")), 100) == Settle()


@pytest.mark.parametrize("price", [None, Decimal(0)])
def test_F68_a_completed_charge_without_energy_or_price_is_released(price: Decimal | None) -> None:
    assert step_at(ended(energy_wh=0, price=price), 100) == GiveUp(NotStartedReason.START_TIMEOUT)


def test_a_failed_charge_without_energy_counts_as_refused() -> None:
    failed = ended(energy_wh=0, price=Decimal(0), failed_at=after(90))
    assert step_at(failed, 100) == GiveUp(NotStartedReason.REFUSED)


def test_F69_a_fee_without_energy_is_billed_unless_we_ended_the_charge() -> None:
    assert step_at(ended(energy_wh=0, price=Decimal("0.35")), 100) == Settle()
    change = monta_calls.stop_intended(running(), StopReason.DRIVER, now=after(20), policy=POLICY)
    final = report("completed", 100, energy_wh=0, price=Decimal("0.35"))
    stopped = apply_report(change, final, Source.MONTA_API, POLICY).session
    assert step_at(stopped, 100) == GiveUp(NotStartedReason.CANCELED)


@pytest.mark.parametrize(
    "odd", [{"price": None}, {"price": Decimal(100)}, {"price": Decimal(2), "currency": "SEK"}]
)
def test_F67_what_cannot_be_billed_is_read_again_and_again_but_never_settled(odd: dict[str, Any]) -> None:
    session = ended(energy_wh=3000, **odd)
    charge = session.charge
    assert charge is not None
    assert unbillable(session, charge, POLICY) is not None
    at, reads = 100.0, []
    while at < 3600:
        found = decide(session, POLICY, after(at))
        if isinstance(found, Wait):
            assert found.until is not None
            at = (found.until - T0).total_seconds()
            continue
        assert found == ReadCharge(ONE)
        reads.append(at)
        again = report("completed", at, energy_wh=3000, **odd)
        session = monta_calls.read(Change(session), again, now=after(at), policy=POLICY).session
    assert 10 < len(reads) < 25


def test_a_stopped_charge_without_energy_is_released_after_two_reads_that_agree() -> None:
    change = monta_calls.stop_intended(running(), StopReason.LATE_START, now=after(300), policy=POLICY)
    change = monta_calls.read(change, report("stopped", 310), now=after(310), policy=POLICY)
    assert isinstance(step_at(change.session, 311), Wait)
    change = monta_calls.read(change, report("stopped", 330), now=after(330), policy=POLICY)
    assert step_at(change.session, 330) == GiveUp(NotStartedReason.START_TIMEOUT)


# Charges that no session pays for


def test_a_duplicate_charge_is_stopped_until_it_has_ended_also_after_the_end_of_the_session() -> None:
    duplicate = report(id=ChargeId("2"), at=20)
    session = apply_report(running(10), duplicate, Source.MONTA_WEBHOOK, POLICY).session
    over = replace(session, status=Status.NOT_STARTED)
    stopped = apply_report(
        Change(over), report("stopped", 40, id=ChargeId("2")), Source.MONTA_WEBHOOK, POLICY
    ).session
    assert decide(over, POLICY, after(9)) == StopDuplicate(ChargeId("2"))
    assert decide(replace(stopped, watch_until=None), POLICY, after(3600)) == Wait(None)


def test_duplicates_are_searched_for_until_the_watch_ends() -> None:
    change = monta_calls.start_unknown(posted(), "503", POLICY)
    session = replace(change.session, status=Status.NOT_STARTED)
    at, searches = 0.0, 0
    while (found := decide(session, POLICY, after(at))) != Wait(None):
        if isinstance(found, Wait):
            assert found.until is not None
            at = (found.until - T0).total_seconds()
            continue
        assert found == SearchCharges()
        searches += 1
        session = apply_search_result(Change(session), [], at=after(at), policy=POLICY).session
    assert searches == POLICY.duplicate_watch_s / POLICY.duplicate_search_s


def test_a_start_that_no_webhook_reports_is_searched_for_once_since_it_may_have_made_two_charges() -> None:
    change = monta_calls.start_accepted(posted(), report("starting", 2), POLICY)
    assert not isinstance(step_at(change.session, 29), SearchCharges)
    assert isinstance(step_at(change.session, 31), SearchCharges)
    change = apply_search_result(change, [report("starting", 31)], at=after(31), policy=POLICY)
    assert all(
        not isinstance(step_at(change.session, seconds), SearchCharges) for seconds in (32, 62, 95, 1000)
    )


def test_a_webhook_of_the_charge_spares_that_search() -> None:
    change = monta_calls.start_accepted(posted(), report("starting", 2), POLICY)
    change = apply_report(change, report("charging", 4), Source.MONTA_WEBHOOK, POLICY)
    assert not isinstance(step_at(change.session, 31), SearchCharges)
