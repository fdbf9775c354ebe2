"""Phases: total over their inputs, each with the steps and statuses that its row names; NEXT has one function each."""

from dataclasses import replace
from datetime import datetime
from itertools import product

from hypothesis import given

from app.domain.charging.charge import Charge, ChargeState, merge
from app.domain.session.machine import TRANSITIONS, Command
from app.domain.session.next_step import NEXT
from app.domain.session.payment_session import (
    Lost,
    PaymentSession,
    Refusals,
    Start,
    StartOutcome,
    Status,
    Stop,
    StopReason,
    StopRequest,
)
from app.domain.session.states.journal import JournalKind
from app.domain.session.states.phases import (
    GROUP_MOVES,
    PHASES,
    WITH_CHARGE,
    WITHOUT_CHARGE,
    Phase,
    phase_of,
    quiet_until_of,
)
from tests.domain.sessions import POLICY, T0, Course, Event, after, courses, new_session, play, report

DEADLINE_S = POLICY.start_deadline_s
MOMENTS = (after(1), after(DEADLINE_S - 1), after(DEADLINE_S + 1), after(POLICY.hold_days * 86_400))
QUIET_UNTIL = quiet_until_of(new_session(), POLICY)
SEARCHES = (None, T0, QUIET_UNTIL)
POSTS = (0, 1, POLICY.max_ambiguous_posts)
REQUEST = StopRequest(reason=StopReason.DRIVER, at=T0)
STOP = Stop(reason=StopReason.LIMIT_REACHED, decided_at=after(5))
RUNNING = (Status.STARTING, Status.CHARGING, Status.STOPPING, Status.FINISHING)


def starts() -> list[PaymentSession]:
    """Without a charge: start outcome x last empty search x POSTs x found elsewhere x retry x stop requested."""
    inputs = product(StartOutcome, SEARCHES, POSTS, (False, True), (None, after(5)), (None, REQUEST))
    return [
        new_session(
            start=Start(
                deadline=after(DEADLINE_S),
                outcome=outcome,
                posts=posts,
                intent_at=T0 if posts else None,
                empty_at=empty_at,
                elsewhere=elsewhere,
                retry_at=retry_at,
            ),
            stop_request=request,
        )
        for outcome, empty_at, posts, elsewhere, retry_at, request in inputs
    ]


def charges() -> list[Charge]:
    """Every state, by webhook and by record, without and with energy."""
    return [
        merge(None, report(state, energy_wh=energy_wh), by_rest=by_rest)
        for state, energy_wh, by_rest in product(ChargeState, (0, 900), (False, True))
    ]


def with_charges() -> list[PaymentSession]:
    """With a charge: its state x status x stop x loss x whether reads were answered with 404."""
    gone = Refusals(count=POLICY.gone_answers, since=T0)
    inputs = product(charges(), RUNNING, (None, STOP, replace(STOP, confirmed_at=after(6))), (None, *Lost))
    return [
        new_session(
            charge=charge,
            status=status,
            stop=stop,
            lost=lost,
            reads=replace(new_session().reads, missing=gone if stop is None else None),
        )
        for charge, status, stop, lost in inputs
    ]


def check(session: PaymentSession, now: datetime) -> Phase:
    """One phase, whose function returns one of the steps that its row names."""
    phase = phase_of(session, POLICY, now)
    assert type(NEXT[phase](session, POLICY, now)) in PHASES[phase].steps, phase
    return phase


def test_every_phase_has_a_row_and_a_function_in_the_order_of_the_enum() -> None:
    assert list(PHASES) == list(NEXT) == list(Phase)
    assert all(row.issuers and row.statuses and row.steps for row in PHASES.values())


def test_a_session_without_a_charge_has_exactly_one_phase_for_every_combination_of_its_inputs() -> None:
    found = {check(session, now) for session, now in product(starts(), MOMENTS)}
    assert found == {phase for phase, row in PHASES.items() if Status.AUTHORIZED in row.statuses}


def test_a_session_with_a_charge_has_exactly_one_phase_for_every_combination_of_its_inputs() -> None:
    found = {check(session, now) for session, now in product(with_charges(), (after(11), MOMENTS[-1]))}
    assert found == {phase for phase, row in PHASES.items() if Status.FINISHING in row.statuses} | {
        Phase.RUNNING
    }


def test_an_ended_session_is_ended_whatever_else_it_holds() -> None:
    for session, status in product((*starts()[:50], *with_charges()[:50]), PHASES[Phase.ENDED].statuses):
        assert check(replace(session, status=status), T0) is Phase.ENDED


def test_no_start_is_sent_in_doubt_nor_beyond_the_allowed_posts() -> None:
    for session, now in product(starts(), MOMENTS):
        start = session.start
        if phase_of(session, POLICY, now) not in (Phase.READY, Phase.BACKOFF):
            continue
        assert start.outcome is not StartOutcome.REFUSED
        assert session.stop_request is None
        assert now < start.deadline
        if start.outcome is StartOutcome.UNKNOWN:
            assert start.empty_at == QUIET_UNTIL
            assert start.posts < POLICY.max_ambiguous_posts
            assert not start.elsewhere


def test_the_groups_hold_each_phase_once() -> None:
    assert [*WITHOUT_CHARGE, *WITH_CHARGE, Phase.ENDED] == list(Phase)


def may_follow(phase: Phase, other: Phase) -> bool:
    """Whether `other` may come next after `phase`, by the rows and the moves of groups."""
    return other in PHASES[phase].then or any(phase in a and other in b for a, b in GROUP_MOVES)


@given(courses)
def test_every_phase_fits_its_status_and_follows_the_one_before_as_the_rows_say(course: list[Event]) -> None:
    played = Course(new_session())
    before = phase_of(played.session, POLICY, played.now)
    for event in course:
        known = len(played.history)
        played.play(event)
        for session in (*played.history[known:], played.session):
            phase = phase_of(session, POLICY, played.now)
            assert session.status in PHASES[phase].statuses, phase
            assert phase is before or may_follow(before, phase), (before, phase)
            before = phase


@given(courses)
def test_every_transition_is_issued_by_one_whom_its_row_names(course: list[Event]) -> None:
    rows = {(row.status, row.command): row for row in TRANSITIONS}
    for line in play(course).lines:
        if line.kind is JournalKind.STATUS_CHANGED:
            row = rows[Status(str(line.detail["old"])), Command(str(line.detail["command"]))]
            assert (line.detail["new"], line.source in row.issuers) == (row.to, True)
