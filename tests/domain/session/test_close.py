"""Tests of app/domain/session/settle.

Operations can end a session in any state: settled once by that amount, and its charge stays watched.
"""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.charging.charge import ENDED, ChargeState
from app.domain.session import monta_calls, stuck_session
from app.domain.session.machine import Caller, Change, NotAllowed, SearchCharges, Source, StopDuplicate, Wait
from app.domain.session.next_step import decide
from app.domain.session.payment_session import Lost, PaymentSession, Status, StopReason, StopRequest, TopUp
from app.domain.session.reports import apply_report, apply_search_result
from app.domain.session.settle import closed_by_person
from app.domain.session.settlement import SettlementBasis
from app.domain.units.ids import ChargeId
from tests.domain.sessions import (
    POLICY,
    T0,
    Event,
    after,
    courses,
    events,
    new_session,
    play,
    posted,
    report,
    running,
)

ONE = ChargeId("1")
NOW = after(500)


def stopped(state: str, **more: object) -> PaymentSession:
    shown = report(state, 400, energy_wh=3000, price=Decimal("2.37"), **more)
    return apply_report(running(3000), shown, Source.MONTA_API, POLICY).session


def stopping() -> PaymentSession:
    return monta_calls.stop_intended(running(3000), StopReason.DRIVER, now=after(400), policy=POLICY).session


def lost(why: Lost) -> PaymentSession:
    return stuck_session.counted_lost(Change(stopping()), why).session


STOP_REQUEST = StopRequest(reason=StopReason.DRIVER, at=after(20))
TOP_UP = TopUp(reference="A-2", amount_minor=1500, at=after(30))
STATES = {
    "authorized": new_session(),
    "authorized, canceled": new_session(stop_request=STOP_REQUEST),
    "start not done": monta_calls.start_not_done(posted(), "429", retry_at=after(600)).session,
    "start on its way": posted().session,
    "start unknown": monta_calls.start_unknown(posted(), "504", POLICY).session,
    "start unknown, nothing found": apply_search_result(
        monta_calls.start_unknown(posted(), "504", POLICY), [], at=after(130), policy=POLICY
    ).session,
    "start refused": monta_calls.start_refused(posted(), "400").session,
    "starting": monta_calls.start_accepted(posted(), report("starting", 2), POLICY).session,
    "charging": running(3000).session,
    "charging, topped up": running(3000, top_ups=(TOP_UP,)).session,
    "paused": apply_report(running(3000), report("paused", 400), Source.MONTA_API, POLICY).session,
    "in an unknown state": apply_report(
        running(3000), report("other", 400), Source.MONTA_API, POLICY
    ).session,
    "charging, requested to stop": replace(running(3000).session, stop_request=STOP_REQUEST),
    "stopping": stopping(),
    "stopped": stopped("stopped"),
    "releasing": stopped("releasing"),
    "completed, held for review": stopped("completed", currency="SEK"),
    "gone": lost(Lost.GONE),
    "stalled": lost(Lost.STALLED),
    "with a second charge": apply_report(
        running(3000), report("charging", 20, id=ChargeId("2")), Source.MONTA_API, POLICY
    ).session,
}


CALLER = Caller("opk_1", "night shift")


def close(session: PaymentSession, amount_minor: int) -> Change:
    return closed_by_person(Change(session, by=CALLER), amount_minor, "because", now=NOW, policy=POLICY)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("share", [0, 1, 2])
def test_F109_a_session_in_any_state_is_ended_and_settled_by_the_amount_of_operations(
    state: str, share: int
) -> None:
    before = STATES[state]
    amount_minor = before.authorized_minor * share // 2
    change = close(before, amount_minor)
    session, settlement = change.session, change.session.settlement
    assert session.ended
    assert not session.occupies_charge_point
    assert settlement is not None
    assert settlement.basis is SettlementBasis.PERSON
    assert settlement.to_capture_minor == amount_minor
    assert settlement.to_capture_minor + settlement.to_release_minor == before.authorized_minor
    assert sum(share.to_capture_minor for share in settlement.shares) == amount_minor
    assert settlement.shortfall_minor == 0
    (line,) = [line for line in change.lines if line.kind == "closed_by_operations"]
    assert line.source is Source.OPERATIONS
    assert line.detail == {
        "amount_minor": amount_minor,
        "reason": "because",
        "status": before.status,
        "by": "opk_1",
        "by_name": "night shift",
    }
    assert (session.status is Status.NOT_STARTED) == (before.charge is None and not amount_minor)
    assert (session.stop_reason is None) == (session.status is Status.NOT_STARTED)


@pytest.mark.parametrize("state", STATES)
def test_F109_its_charge_is_stopped_if_one_may_run_and_watched_until_it_is(state: str) -> None:
    before = STATES[state]
    charge, session = before.charge, close(before, 0).session
    live = {duplicate.id for duplicate in session.duplicates if duplicate.live}
    may_run = charge is not None and not charge.ended and before.lost is not Lost.GONE
    assert (ONE in live) == may_run
    if may_run:
        step = decide(session, POLICY, after(2000))
        while isinstance(step, SearchCharges):
            session = apply_search_result(Change(session), [], at=after(2000), policy=POLICY).session
            step = decide(session, POLICY, after(2000))
        assert isinstance(step, StopDuplicate)
    told = report("stopped", 2001, energy_wh=3100, updated_at=after(2001))
    ended = apply_report(Change(session), told, Source.MONTA_API, POLICY).session
    assert ONE not in {duplicate.id for duplicate in ended.duplicates if duplicate.live}
    assert ended.settlement == session.settlement


@pytest.mark.parametrize("state", ["start on its way", "start unknown", "start refused", "start not done"])
@pytest.mark.parametrize("source", [Source.MONTA_API, Source.MONTA_WEBHOOK])
def test_F109_a_charge_that_a_late_start_brings_is_stopped_and_never_settled(
    state: str, source: Source
) -> None:
    session = close(STATES[state], 500).session
    change = Change(session)
    if source is Source.MONTA_API:
        change = monta_calls.start_accepted(change, report("starting", 501), POLICY)
    else:
        change = apply_report(change, report("charging", 501, energy_wh=10), source, POLICY)
    assert change.session.charge is None
    assert change.session.settlement == session.settlement
    assert [duplicate.id for duplicate in change.session.duplicates if duplicate.live] == [ONE]
    assert isinstance(decide(change.session, POLICY, after(502)), StopDuplicate | SearchCharges)


@pytest.mark.parametrize("state", ["start on its way", "start unknown"])
def test_F109_a_start_unknown_is_searched_for_after_the_end(state: str) -> None:
    session = close(STATES[state], 0).session
    assert session.watch_until is not None
    assert session.watch_until > NOW
    assert isinstance(decide(session, POLICY, after(600)), SearchCharges)


def test_F109_a_session_without_a_call_to_monta_is_over_at_once() -> None:
    assert decide(close(new_session(), 0).session, POLICY, NOW) == Wait(None)


@pytest.mark.parametrize("state", STATES)
def test_F109_neither_more_than_the_holds_nor_less_than_nothing(state: str) -> None:
    session = STATES[state]
    for amount_minor in (-1, session.authorized_minor + 1):
        with pytest.raises(ValueError, match="within what was authorized"):
            close(session, amount_minor)


@pytest.mark.parametrize("state", STATES)
def test_F109_an_ended_session_cannot_be_ended_again(state: str) -> None:
    with pytest.raises(NotAllowed):
        close(close(STATES[state], 0).session, 0)


@given(courses, st.lists(events, max_size=15), st.integers(0, 2000))
def test_F109_whenever_it_comes_it_settles_once_and_no_charge_runs_on_unwatched(
    before: list[Event], afterwards: list[Event], amount_minor: int
) -> None:
    played = play(before)
    if played.session.ended:
        return
    closed = closed_by_person(
        Change(played.session), amount_minor, "because", now=played.now, policy=POLICY
    ).session
    settlement = closed.settlement
    assert settlement is not None
    assert settlement.to_capture_minor == amount_minor
    charge = closed.charge
    if charge is not None and not charge.ended:
        assert charge.id in {duplicate.id for duplicate in closed.duplicates if duplicate.live}
    played.session = closed
    posts = len(played.posts_at)
    for event in afterwards:
        played.play(event)
        assert played.session.settlement == settlement
        assert played.session.status is closed.status
    assert len(played.posts_at) == posts, "nothing is started any more"
    for duplicate in played.session.duplicates:
        assert duplicate.state in ENDED or duplicate.live or duplicate.over_at is not None
    assert ChargeState.OTHER not in ENDED
    assert played.now >= T0


def test_F109_stops_of_a_lost_charge_go_on_as_planned_and_others_begin_at_once() -> None:
    before = lost(Lost.STALLED)
    assert before.stop is not None
    (duplicate,) = close(before, 0).session.duplicates
    assert (duplicate.attempts, duplicate.next_at) == (before.stop.attempts, before.stop.next_at)
    (other,) = close(stopping(), 0).session.duplicates
    assert (other.attempts, other.next_at) == (0, None)
