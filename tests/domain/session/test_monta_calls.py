"""Calls as the session records them: an intent leaves the outcome unknown until a certain answer."""

from datetime import timedelta

import pytest

from app.domain.charging.charge import ChargeState
from app.domain.session import monta_calls
from app.domain.session.machine import Change
from app.domain.session.payment_session import StartOutcome, Status, StopReason
from app.domain.session.states.journal import JournalKind
from app.domain.units.ids import ChargeId
from tests.domain.sessions import POLICY, T0, after, new_session, posted, report, running


def test_from_the_intent_on_the_start_is_unknown() -> None:
    start = posted().session.start
    assert (start.outcome, start.posts, start.intent_at) == (StartOutcome.UNKNOWN, 1, T0)


def test_a_second_intent_begins_its_searches_afresh() -> None:
    change = monta_calls.search_failed(posted(), "503", now=after(5), not_before=after(5), policy=POLICY)
    start = monta_calls.start_intended(change, after(130), POLICY).session.start
    assert (start.posts, start.intent_at, start.searches, start.searched_at) == (2, after(130), 0, None)


def test_a_post_without_effect_does_not_count_and_may_be_sent_again() -> None:
    start = monta_calls.start_not_done(posted(), "429", retry_at=after(5)).session.start
    assert (start.outcome, start.posts, start.not_done) == (StartOutcome.NOT_DONE, 0, 1)
    assert start.retry_at == after(5)


def test_a_refusal_is_certain() -> None:
    start = monta_calls.start_refused(posted(), "400").session.start
    assert (start.outcome, start.refusal, start.posts) == (StartOutcome.REFUSED, "400", 1)


def test_an_unknown_outcome_is_watched_for_duplicates_counted_from_its_intent() -> None:
    session = monta_calls.start_unknown(posted(), "503", POLICY).session
    assert session.watch_until == after(POLICY.duplicate_watch_s)
    assert session.start.ambiguous_at == T0
    assert session.start.outcome is StartOutcome.UNKNOWN


def test_one_post_with_a_certain_answer_needs_one_look_at_most() -> None:
    session = monta_calls.start_accepted(posted(), report("starting"), POLICY).session
    assert (session.status, session.watch_until) == (Status.STARTING, after(POLICY.duplicate_search_s))


def test_a_certain_answer_to_a_second_post_leaves_the_first_unknown() -> None:
    change = monta_calls.start_unknown(posted(), "503", POLICY)
    change = monta_calls.start_intended(change, after(130), POLICY)
    session = monta_calls.start_accepted(change, report("starting", 131), POLICY).session
    assert session.watch_until == after(130 + POLICY.duplicate_watch_s)


def test_an_answer_after_the_session_was_released_makes_a_duplicate_charge() -> None:
    change = posted()
    ended = Change(new_session(status=Status.NOT_STARTED, start=change.session.start))
    session = monta_calls.start_accepted(ended, report("starting"), POLICY).session
    assert session.charge is None
    assert [e.id for e in session.duplicates] == ["1"]


def test_F57_stops_are_repeated_and_slow_down_once_operations_were_alerted() -> None:
    change = running(1000)
    pauses = []
    for attempt in range(1, 7):
        now = after(100 * attempt)
        change = monta_calls.stop_intended(change, StopReason.DRIVER, now=now, policy=POLICY)
        stop = change.session.stop
        assert stop is not None
        assert stop.attempts == attempt
        assert stop.next_at is not None
        pauses.append((stop.next_at - now).total_seconds())
        assert bool(change.session.attention) == (attempt > POLICY.stop_attention_attempts)
    assert pauses == [10, 10, 10, 30, 60, 120]
    assert [line.kind for line in change.lines].count(JournalKind.STOP_DECIDED) == 1


def test_a_second_reason_to_stop_does_not_replace_the_first() -> None:
    change = monta_calls.stop_intended(running(), StopReason.DRIVER, now=after(20), policy=POLICY)
    change = monta_calls.stop_intended(change, StopReason.LIMIT_REACHED, now=after(30), policy=POLICY)
    assert change.session.stop is not None
    assert (change.session.stop.reason, change.session.stop_reason) == (StopReason.DRIVER, StopReason.DRIVER)
    assert change.session.stop.decided_at == after(20)


def test_an_accepted_stop_is_not_a_stopped_charge() -> None:
    change = monta_calls.stop_intended(running(), StopReason.DRIVER, now=after(20), policy=POLICY)
    session = monta_calls.stop_answered(change, report("stopping", 21), POLICY).session
    assert session.status is Status.STOPPING
    assert session.stop is not None
    assert session.stop.confirmed_at is None


def test_F58_a_throttled_stop_waits_as_monta_says_but_never_less_than_planned() -> None:
    change = monta_calls.stop_intended(running(), StopReason.DRIVER, now=after(20), policy=POLICY)
    for told, planned in ((after(25), after(30)), (after(50), after(50)), (None, after(30))):
        session = monta_calls.stop_failed(change, "429", now=after(20), not_before=told).session
        assert session.stop is not None
        assert session.stop.next_at == planned


def test_failed_reads_are_spaced_wider_and_wider_up_to_a_bound() -> None:
    change, now = running(), after(100)
    pauses = []
    for _ in range(9):
        change = monta_calls.read_failed(change, "503", now=now, not_before=None, policy=POLICY)
        assert change.session.reads.not_before is not None
        pauses.append((change.session.reads.not_before - now).total_seconds())
    assert pauses == [2, 4, 8, 16, 32, 64, 65, 65, 65]
    after_it = monta_calls.read(change, report(at=200), now=now, policy=POLICY).session.reads
    assert (after_it.failures, after_it.not_before) == (0, None)


def test_a_throttled_read_waits_as_long_as_monta_says() -> None:
    far = after(100) + timedelta(seconds=300)
    change = monta_calls.read_failed(running(), "429", now=after(100), not_before=far, policy=POLICY)
    assert change.session.reads.not_before == far


@pytest.mark.parametrize(("energy_wh", "idle"), [(0, 2), (500, 0)])
def test_reads_of_an_ended_charge_are_counted_and_idle_ones_only_without_energy(
    energy_wh: int, idle: int
) -> None:
    change = running()
    for at in (100, 110):
        ended = report("stopped", at, energy_wh=energy_wh)
        change = monta_calls.read(change, ended, now=after(at), policy=POLICY)
    assert (change.session.reads.polls, change.session.reads.idle_reads) == (2, idle)


def test_only_the_duplicate_charge_that_is_meant_is_planned_to_be_stopped_again() -> None:
    change = running()
    for name in ("2", "3"):
        change = monta_calls.duplicate_stop_answered(change, report(id=ChargeId(name), at=20), POLICY)
    change = monta_calls.duplicate_stop_intended(change, ChargeId("3"), now=after(30), policy=POLICY)
    attempted = {e.id: (e.attempts, e.next_at) for e in change.session.duplicates}
    assert attempted == {"2": (0, None), "3": (1, after(40))}
    assert {e.state for e in change.session.duplicates} == {ChargeState.CHARGING}
