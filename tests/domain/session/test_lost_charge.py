"""Tests of app/domain/session/stuck_session.

Charges that Monta never brings to an end count as ended, and charge points are free as soon as nothing can run.
"""

from bisect import bisect_left
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.charging.charge import ENDED, POWERLESS, ChargeReport, ChargeState
from app.domain.limit.policy import backoff_s, duplicate_pause_s, stop_pause_s
from app.domain.session import monta_calls, stuck_session
from app.domain.session.machine import (
    AskSweep,
    Change,
    CountLost,
    GiveUp,
    ReadCharge,
    SearchCharges,
    SendStart,
    SendStop,
    Settle,
    SettleUnfinished,
    Source,
    Step,
    StopDuplicate,
    Wait,
)
from app.domain.session.next_step import decide
from app.domain.session.payment_session import Lost, PaymentSession, Status, StopReason
from app.domain.session.reports import apply_report, apply_search_result
from app.domain.session.settle import (
    may_be_settled_by_person,
    release_unused,
    settle_final,
    settle_unfinished,
)
from app.domain.session.settlement import SettlementBasis
from app.domain.units.ids import ChargeId
from tests.domain.sessions import POLICY, T0, after, events, new_session, play, report, running

CALLS = (SearchCharges, ReadCharge, SendStart, SendStop, StopDuplicate)


class Mute:
    """Monta as one charge sees it: how it answers reads, stops and searches, permanently."""

    def __init__(self, *, read: str, stop: str, search: str = "empty", state: str = "charging") -> None:
        self.read, self.stop, self.search, self.state = read, stop, search, state

    def lives(self, session: PaymentSession, hours: float, at_s: float = 400) -> "Life":
        """Follows every decision for this duration, without webhooks."""
        life = Life(session)
        now, end = after(at_s), after(at_s + hours * 3600)
        while now < end:
            change = stuck_session.observed(Change(life.session), now, POLICY)
            step = decide(change.session, POLICY, now)
            change = self._follow(change, step, life, now)
            change = stuck_session.freed(change, now, POLICY)
            life.session = change.session
            if isinstance(step, Wait):
                now = end if step.until is None else max(now + timedelta(seconds=1), step.until)
        return life

    def _follow(self, change: Change, step: Step, life: "Life", now: datetime) -> Change:
        life.steps.append((now, step))
        match step:
            case AskSweep(charge_id):
                return self._follow(change, ReadCharge(charge_id), life, now)
            case ReadCharge():
                return self._read(change, now)
            case SendStop(reason):
                return self._stopped(monta_calls.stop_intended(change, reason, now=now, policy=POLICY), now)
            case StopDuplicate(charge_id):
                change = monta_calls.duplicate_stop_intended(change, charge_id, now=now, policy=POLICY)
                return self._duplicate_stopped(change, charge_id, now)
            case SearchCharges():
                return self._looked(change, now)
            case GiveUp() | Settle() | SettleUnfinished() | CountLost():
                return concluded(change, step, now)
            case _:
                return change

    def _shown(self, change: Change, now: datetime) -> ChargeReport:
        at = (now - T0).total_seconds()
        return report(self.state, at, energy_wh=change.session.energy_wh, price=Decimal("1.00"))

    def _read(self, change: Change, now: datetime) -> Change:
        if self.read == "200":
            return monta_calls.read(change, self._shown(change, now), now=now, policy=POLICY)
        status = status_of(self.read)
        return monta_calls.read_failed(
            change, self.read, now=now, not_before=None, policy=POLICY, status=status
        )

    def _stopped(self, change: Change, now: datetime) -> Change:
        if self.stop == "200":
            return monta_calls.stop_answered(change, self._shown(change, now), POLICY)
        status = status_of(self.stop)
        return monta_calls.stop_failed(change, self.stop, now=now, not_before=None, status=status)

    def _duplicate_stopped(self, change: Change, charge_id: ChargeId, now: datetime) -> Change:
        if self.stop == "200":
            shown = replace(self._shown(change, now), id=charge_id)
            return monta_calls.duplicate_stop_answered(change, shown, POLICY)
        status = status_of(self.stop)
        return monta_calls.duplicate_stop_failed(
            change, charge_id, self.stop, now=now, not_before=None, policy=POLICY, status=status
        )

    def _looked(self, change: Change, now: datetime) -> Change:
        if self.search == "empty":
            return apply_search_result(change, [], at=now, policy=POLICY)
        return monta_calls.search_failed(change, self.search, now=now, not_before=None, policy=POLICY)


def status_of(answer: str) -> int | None:
    """Of a certain refusal; a gateway's 503 proves nothing."""
    return None if answer == "503" else int(answer)


def concluded(change: Change, step: GiveUp | Settle | SettleUnfinished | CountLost, now: datetime) -> Change:
    match step:
        case GiveUp(reason):
            return release_unused(change, reason, now, POLICY)
        case Settle():
            return settle_final(change, now, POLICY)
        case SettleUnfinished():
            return settle_unfinished(change, now, POLICY)
        case CountLost(why):
            return stuck_session.counted_lost(change, why)


class Life:
    """What became of a session, and every step on the way."""

    def __init__(self, session: PaymentSession) -> None:
        self.session = session
        self.steps: list[tuple[datetime, Step]] = []

    def busiest_hour(self) -> int:
        """The most calls within any hour."""
        at = sorted(now for now, step in self.steps if isinstance(step, CALLS))
        ends = (bisect_left(at, one + timedelta(hours=1)) for one in at)
        return max((end - begin for begin, end in enumerate(ends)), default=0)


def charging(energy_wh: int = 3000, state: str = "charging") -> PaymentSession:
    change = apply_report(
        running(energy_wh),
        report(state, 380, energy_wh=energy_wh, price=Decimal("1.00")),
        Source.MONTA_API,
        POLICY,
    )
    return change.session


def stopping(energy_wh: int = 3000) -> PaymentSession:
    change = Change(charging(energy_wh))
    return monta_calls.stop_intended(change, StopReason.DRIVER, now=after(390), policy=POLICY).session


@pytest.mark.parametrize("session", [charging(), stopping()], ids=["charging", "stopping"])
def test_F107_a_charge_that_is_gone_is_settled_by_the_plausible_amount_and_its_point_is_free(
    session: PaymentSession,
) -> None:
    life = Mute(read="404", stop="404").lives(session, 6)
    assert life.session.status is Status.COMPLETED
    assert life.session.settlement is not None
    assert life.session.settlement.to_capture_minor == 100
    assert life.session.settlement.basis is SettlementBasis.LAST_PRICE
    assert life.session.settlement.decided_at <= after(400 + 900)
    assert not any(duplicate.live for duplicate in life.session.duplicates)
    assert sum(isinstance(step, CALLS) for _, step in life.steps) <= 60


def test_F107_a_gone_charge_without_energy_releases_the_hold() -> None:
    life = Mute(read="404", stop="404").lives(stopping(0), 1)
    assert life.session.status is Status.NOT_STARTED
    assert life.session.settlement is not None
    assert life.session.settlement.to_capture_minor == 0


def test_F107_a_gone_charge_without_a_plausible_price_is_held_for_operations_and_its_point_is_free() -> None:
    session = replace(stopping(), tariff=None)
    assert session.charge is not None
    charge = replace(session.charge, latest=report("charging", 380, energy_wh=3000))
    unpriced = replace(session, charge=charge)
    life = Mute(read="404", stop="404").lives(unpriced, 6)
    held = life.session
    assert (held.status, held.lost, held.settlement) == (Status.FINISHING, Lost.GONE, None)
    assert held.point_free_at is not None
    assert held.point_free_at <= after(400 + 600)
    assert life.busiest_hour() <= 60
    assert may_be_settled_by_person(held)


def test_F107_a_few_404s_in_a_row_prove_nothing_and_a_report_ends_them() -> None:
    change = Change(stopping())
    for at in range(400, 410):
        change = monta_calls.read_failed(
            change, "404", now=after(at), not_before=None, policy=POLICY, status=404
        )
    assert decide(change.session, POLICY, after(411)) != CountLost(Lost.GONE)
    assert decide(change.session, POLICY, after(700)) == CountLost(Lost.GONE)
    alive = apply_report(change, report("charging", 500, energy_wh=3100), Source.MONTA_WEBHOOK, POLICY)
    assert alive.session.reads.missing is None
    assert decide(alive.session, POLICY, after(700)) != CountLost(Lost.GONE)


def test_F107_a_lost_charge_that_shows_itself_again_is_stopped() -> None:
    life = Mute(read="404", stop="404").lives(replace(stopping(), tariff=None), 0.1)
    session = replace(life.session, lost=Lost.GONE, status=Status.FINISHING, settlement=None)
    again = apply_report(
        Change(session), report("charging", 900, energy_wh=3500), Source.MONTA_API, POLICY
    ).session
    assert again.lost is None
    assert isinstance(decide(again, POLICY, after(2000)), ReadCharge | SendStop)


WAYS = ("200", "403", "404", "400", "503")


@pytest.mark.parametrize("read", WAYS)
@pytest.mark.parametrize("stop", WAYS)
@pytest.mark.parametrize("state", ["charging", "stopping", "paying", "other", "starting"])
@pytest.mark.parametrize("energy_wh", [0, 3000])
def test_F107_whatever_monta_answers_for_ever_calls_are_bounded_and_the_session_has_a_way_out(
    read: str, stop: str, state: str, energy_wh: int
) -> None:
    session = apply_report(
        Change(stopping(energy_wh)), report(state, 395, energy_wh=energy_wh), Source.MONTA_API, POLICY
    ).session
    life = Mute(read=read, stop=stop, state=state).lives(session, 8)
    assert life.busiest_hour() <= 60, life.busiest_hour()
    if "503" in (read, stop):
        return  # No fact is known: the hold's end decides.
    assert not life.session.occupies_charge_point
    assert life.session.ended or life.session.lost is not None
    if not energy_wh:
        assert life.session.status is Status.NOT_STARTED


@pytest.mark.parametrize("read", WAYS)
@pytest.mark.parametrize("energy_wh", [0, 3000])
def test_F107_reads_that_bring_nothing_are_bounded_while_the_charge_runs(read: str, energy_wh: int) -> None:
    life = Mute(read=read, stop=read).lives(charging(energy_wh), 8)
    assert life.busiest_hour() <= 60


@pytest.mark.parametrize("search", ["empty", "403"])
@pytest.mark.parametrize("stop", WAYS)
def test_F107_stops_of_an_unpaid_charge_are_bounded(stop: str, search: str) -> None:
    duplicate = report("charging", 395, id=ChargeId("2"))
    session = apply_report(Change(charging()), duplicate, Source.MONTA_API, POLICY).session
    over = replace(session, status=Status.NOT_STARTED, watch_until=None)
    life = Mute(read="403", stop=stop, search=search).lives(over, 60)
    assert life.busiest_hour() <= 60
    if stop != "200":
        assert not any(e.live for e in life.session.duplicates)


@pytest.mark.parametrize("search", ["403", "503"])
def test_F107_a_start_unknown_whose_search_never_works_ends_with_its_hold(search: str) -> None:
    posted = monta_calls.start_intended(Change(new_session()), T0, POLICY)
    unknown = monta_calls.start_unknown(posted, "504", POLICY).session
    held = replace(unknown.authorization, expires_at=after(6 * 3600))
    life = Mute(read="403", stop="403", search=search).lives(replace(unknown, authorization=held), 7, at_s=1)
    assert life.session.status is Status.NOT_STARTED
    assert life.busiest_hour() <= 60


@pytest.mark.parametrize("state", ["other", "paying", "stopping"])
def test_F107_a_charge_with_energy_that_stands_still_in_an_odd_state_is_stopped_and_then_counts_as_ended(
    state: str,
) -> None:
    life = Mute(read="200", stop="400", state=state).lives(charging(3000, state), 2)
    assert life.session.lost is Lost.STALLED
    assert life.session.point_free_at is not None
    assert life.session.point_free_at <= after(400 + 1200)
    assert life.session.settlement is None, (
        "its record may still come: held until then, or until its hold dies"
    )


def test_F61_a_stalled_charge_without_energy_that_had_begun_is_stopped_for_an_hour_before_its_hold_is_released() -> (
    None
):
    life = Mute(read="200", stop="200", state="charging").lives(stopping(0), 8)
    lost = min(at for at, step in life.steps if isinstance(step, CountLost))
    given_up = [at for at, step in life.steps if isinstance(step, GiveUp)]
    assert given_up == [after(400 + 3600)]
    assert lost == after(400 + 300)
    stops = [at for at, step in life.steps if isinstance(step, SendStop) and at > lost]
    assert max(b - a for a, b in pairwise([lost, *stops, *given_up])) <= timedelta(minutes=6)
    assert life.session.status is Status.NOT_STARTED


def test_F61_a_hold_that_ends_within_that_hour_is_released_in_time_whatever_price_monta_shows() -> None:
    session = stopping(0)
    held = replace(session.authorization, expires_at=after(2400))
    life = Mute(read="200", stop="200", state="charging").lives(replace(session, authorization=held), 2)
    assert life.session.status is Status.NOT_STARTED
    assert life.session.settlement is not None
    assert life.session.settlement.to_capture_minor == 0
    (released,) = [at for at, step in life.steps if isinstance(step, GiveUp)]
    assert after(400 + 900) < released < after(2400)


def test_F61_a_charge_that_is_stopping_at_last_is_stopped_no_sooner_for_it() -> None:
    session = Mute(read="200", stop="200", state="charging").lives(stopping(3000), 0.5).session
    shown = report("stopping", 2201, energy_wh=3000)
    change = apply_report(Change(session), shown, Source.MONTA_WEBHOOK, POLICY)
    change = stuck_session.observed(change, after(2202), POLICY)
    assert isinstance(decide(change.session, POLICY, after(2202)), Wait)


@pytest.mark.parametrize("state", sorted(POWERLESS))
def test_F107_a_stalled_charge_that_never_began_is_released_at_once(state: ChargeState) -> None:
    posted = monta_calls.start_intended(Change(new_session()), T0, POLICY)
    begun = monta_calls.start_accepted(posted, report(state, 2), POLICY)
    stop = monta_calls.stop_intended(begun, StopReason.DRIVER, now=after(390), policy=POLICY).session
    life = Mute(read="200", stop="200", state=state).lives(stop, 8)
    assert life.session.status is Status.NOT_STARTED
    lost = min(at for at, step in life.steps if isinstance(step, CountLost))
    assert [at for at, step in life.steps if isinstance(step, GiveUp)] == [lost]


@pytest.mark.parametrize("energy_wh", [0, 3000])
@pytest.mark.parametrize("hours", [0.1, 0.2, 0.5, 0.9])
def test_F61_a_stalled_charge_that_changes_is_stopped_at_once(energy_wh: int, hours: float) -> None:
    session = Mute(read="200", stop="200", state="charging").lives(stopping(energy_wh), hours).session
    assert session.lost is Lost.STALLED
    now_s = 400 + hours * 3600
    shown = report("charging", now_s, energy_wh=energy_wh + 900)
    back = apply_report(Change(session), shown, Source.MONTA_WEBHOOK, POLICY)
    back = stuck_session.observed(back, after(now_s + 1), POLICY)
    assert back.session.lost is None
    assert isinstance(decide(back.session, POLICY, after(now_s + 1)), SendStop)


def test_F61_a_charge_that_goes_on_changing_is_stopped_no_more_often_for_it() -> None:
    change, now_s, stops = Change(stopping(3000)), 400.0, []
    while now_s < 400 + 3600:
        shown = report("charging", now_s, energy_wh=3000 + int(now_s))
        change = apply_report(change, shown, Source.MONTA_WEBHOOK, POLICY)
        change = stuck_session.observed(change, after(now_s), POLICY)
        if isinstance(step := decide(change.session, POLICY, after(now_s)), SendStop):
            stops.append(now_s)
            change = monta_calls.stop_intended(change, step.reason, now=after(now_s), policy=POLICY)
            change = monta_calls.stop_answered(change, shown, POLICY)
        now_s += 5
    assert {b - a for a, b in pairwise(stops[5:])} == {POLICY.stop_retry_s * POLICY.stop_slow_factor}


def test_F107_a_paused_charge_is_left_alone() -> None:
    life = Mute(read="200", stop="200", state="paused").lives(charging(3000, "paused"), 4)
    assert not any(isinstance(step, SendStop) for _, step in life.steps)
    assert life.busiest_hour() <= 60
    assert life.session.occupies_charge_point


# When the charge point is free


@pytest.mark.parametrize("state", sorted(ENDED))
def test_F106_an_ended_charge_frees_its_point_at_once_or_unless_it_restarts(state: ChargeState) -> None:
    held = {"energy_wh": 3000, "price": Decimal("500.00"), "currency": "EUR"}
    change = apply_report(running(3000), report(state, 400, **held), Source.MONTA_API, POLICY)
    change = stuck_session.observed(change, after(400), POLICY)
    now_free = not stuck_session.freed(change, after(400), POLICY).session.occupies_charge_point
    assert now_free == (state in {ChargeState.COMPLETED, ChargeState.RELEASED})
    later = stuck_session.freed(change, after(400 + POLICY.restart_window_s), POLICY).session
    assert later.status is Status.FINISHING
    assert not later.occupies_charge_point


def test_F106_a_session_that_waits_for_review_is_due_when_its_point_becomes_free() -> None:
    change = apply_report(running(3000), report("stopped", 400, energy_wh=3000), Source.MONTA_API, POLICY)
    change = stuck_session.observed(change, after(400), POLICY)
    assert stuck_session.free_at(change.session, POLICY) == after(400 + POLICY.restart_window_s)


def test_F106_a_restart_begins_the_waiting_anew_and_a_point_once_free_stays_free() -> None:
    change = apply_report(running(3000), report("stopped", 400, energy_wh=3000), Source.MONTA_API, POLICY)
    change = stuck_session.observed(change, after(400), POLICY)
    change = apply_report(change, report("charging", 500, energy_wh=3000), Source.MONTA_API, POLICY)
    change = stuck_session.observed(change, after(500), POLICY)
    assert stuck_session.freed(change, after(2000), POLICY).session.occupies_charge_point
    change = apply_report(change, report("stopped", 600, energy_wh=3000), Source.MONTA_API, POLICY)
    change = stuck_session.freed(stuck_session.observed(change, after(600), POLICY), after(1000), POLICY)
    assert not change.session.occupies_charge_point
    change = apply_report(change, report("charging", 1100, energy_wh=3100), Source.MONTA_API, POLICY)
    change = stuck_session.freed(stuck_session.observed(change, after(1100), POLICY), after(1100), POLICY)
    assert not change.session.occupies_charge_point
    assert isinstance(decide(change.session, POLICY, after(1101)), SendStop)


@given(st.lists(events, min_size=4, max_size=40))
def test_F106_a_point_is_free_only_of_what_has_ended_and_never_taken_back(course: list[object]) -> None:
    session, free = play(course[:1]).session, False  # type: ignore[arg-type]
    now = T0
    for event in course:
        played = play([event], session)  # type: ignore[list-item]
        now = max(now, played.now)
        session = stuck_session.freed(
            stuck_session.observed(Change(played.session), now, POLICY), now, POLICY
        ).session
        if free:
            assert not session.occupies_charge_point
        elif not session.occupies_charge_point:
            charge = session.charge
            assert session.ended or session.lost is not None or (charge is not None and charge.ended)
        free = not session.occupies_charge_point


def test_F107_after_an_outage_of_stops_a_charge_that_stands_still_counts_as_ended_within_minutes() -> None:
    outage_s = 1800
    during = Mute(read="200", stop="503", state="paying").lives(charging(3000, "paying"), outage_s / 3600)
    assert during.session.lost is None, "no answer proves nothing"
    began_s = 400 + outage_s
    answered = Mute(read="200", stop="200", state="paying").lives(during.session, 1, at_s=began_s)
    (ended_at,) = [at for at, step in answered.steps if isinstance(step, CountLost)]
    assert (ended_at - after(began_s)).total_seconds() <= 480
    assert answered.busiest_hour() <= 60


def test_every_pause_grows_to_a_bound() -> None:
    assert [stop_pause_s(n, n, POLICY) for n in range(1, 11)] == [10, 10, 10, 30, 60, 120, 240, 240, 240, 240]
    assert [stop_pause_s(n, 1, POLICY) for n in range(4, 8)] == [30, 30, 30, 30], "while the charge changes"
    assert [duplicate_pause_s(n, POLICY) for n in range(1, 10)] == [10, 10, 10, 30, 60, 120, 240, 300, 300]
    for n in range(1, 2000, 7):
        assert backoff_s(n, POLICY) <= 65
        assert stop_pause_s(n, n, POLICY) <= 240
        assert duplicate_pause_s(n, POLICY) <= 300
