"""Late facts: an ended session's record is read again for a reason, and a bounded number of times."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.charging.charge import ChargeState
from app.domain.session import late_facts, monta_calls
from app.domain.session.attention import AttentionCode
from app.domain.session.late_facts import MAX_RECHECKS
from app.domain.session.machine import Change, ReadCharge, Source, StopDuplicate, Wait
from app.domain.session.next_step import decide
from app.domain.session.payment_session import NotStartedReason, PaymentSession
from app.domain.session.reports import apply_report, apply_search_result
from app.domain.session.settle import release_unused, settle_final
from tests.domain.sessions import POLICY, after, report, running

FINAL = report(ChargeState.COMPLETED, 100, energy_wh=2000, price=Decimal("0.98"))


def ended() -> PaymentSession:
    change = apply_report(running(2000), FINAL, Source.MONTA_API, POLICY)
    return settle_final(change, after(101), POLICY).session


def test_F100_a_session_that_ended_is_not_read_without_a_reason() -> None:
    session = ended()
    assert decide(session, POLICY, after(10**6)) == Wait(None)
    same = apply_report(
        Change(session), replace(FINAL, seen_at=after(200)), Source.MONTA_WEBHOOK, POLICY
    ).session
    assert decide(same, POLICY, after(10**6)) == Wait(None)


prices = st.sampled_from([Decimal("0.98"), Decimal("2.94"), Decimal("-1"), Decimal(0)])
news = st.lists(
    st.tuples(prices, st.sampled_from([0, 2000, 6000]), st.sampled_from(list(ChargeState)), st.booleans()),
    max_size=40,
)


@given(news)
def test_F100_whatever_webhooks_say_reads_are_bounded_and_the_record_decides(
    course: list[tuple[Decimal, int, ChargeState, bool]],
) -> None:
    change, at, reads = Change(ended()), 200, 0
    for price, energy_wh, state, fails in course:
        told = report(state, at, energy_wh=energy_wh, price=price)
        change = late_facts.compare_late_price(apply_report(change, told, Source.MONTA_WEBHOOK, POLICY))
        assert change.session.attention == (), "a webhook alone says nothing"
        for _ in range(3):
            at += 400
            if not isinstance(decide(change.session, POLICY, after(at)), ReadCharge):
                continue
            reads += 1
            if fails:
                change = monta_calls.read_failed(change, "503", now=after(at), not_before=None, policy=POLICY)
            else:
                change = monta_calls.read(
                    change, replace(FINAL, seen_at=after(at)), now=after(at), policy=POLICY
                )
            change = late_facts.compare_late_price(change)
    assert reads <= MAX_RECHECKS
    assert change.session.attention == ()
    assert change.session.settlement == ended().settlement


def test_F100_a_record_that_is_gone_is_reported_once_and_read_no_more() -> None:
    change = late_facts.contradicted(Change(ended()), after(300))
    assert decide(change.session, POLICY, after(300)) == ReadCharge(FINAL.id)
    for _ in range(3):
        change = monta_calls.read_failed(change, "404", now=after(301), not_before=None, policy=POLICY)
        change = late_facts.record_gone(change)
    assert [item.code for item in change.session.attention] == [AttentionCode.RECORD_GONE]
    assert decide(change.session, POLICY, after(300) + timedelta(days=1)) == Wait(None)
    back = monta_calls.read(change, FINAL, now=after(400), policy=POLICY)
    assert back.session.attention == ()


@given(st.lists(st.tuples(prices, st.sampled_from([0, 2000, 6000])), max_size=8))
def test_F100_the_attention_says_whether_the_record_is_as_it_was_settled(
    course: list[tuple[Decimal, int]],
) -> None:
    change = Change(ended())
    for n, (price, energy_wh) in enumerate(course):
        record = report(ChargeState.COMPLETED, 200 + 10 * n, energy_wh=energy_wh, price=price)
        for _ in range(2):
            change = late_facts.compare_late_price(apply_report(change, record, Source.MONTA_API, POLICY))
        differs = (price, energy_wh) != (Decimal("0.98"), 2000)
        assert [item.code for item in change.session.attention] == [AttentionCode.RECORD_CHANGED] * differs


def nothing_ran() -> PaymentSession:
    change = apply_report(running(0), report("completed", 100, energy_wh=0), Source.MONTA_API, POLICY)
    return release_unused(change, NotStartedReason.START_TIMEOUT, after(101), POLICY).session


@pytest.mark.parametrize("begin", [ended, nothing_ran])
@pytest.mark.parametrize("state", ["completed", "stopped"])
def test_F100_energy_that_goes_on_rising_is_stopped_whatever_the_state_says(
    begin: Callable[[], PaymentSession], state: str
) -> None:
    session = begin()
    most = session.energy_wh
    first = report("completed", 400, energy_wh=most + 500, price=Decimal("0.98"))
    change = monta_calls.read(Change(session), first, now=after(400), policy=POLICY)
    assert change.session.duplicates == ()
    assert decide(change.session, POLICY, after(480)) == ReadCharge(FINAL.id)
    again = replace(first, seen_at=after(480), updated_at=after(480), energy_wh=most + 700)
    again = replace(again, state=ChargeState(state if begin is nothing_ran else "completed"))
    change = monta_calls.read(change, again, now=after(480), policy=POLICY)
    change = apply_search_result(change, [replace(again, seen_at=after(481))], at=after(481), policy=POLICY)
    assert decide(change.session, POLICY, after(481)) == StopDuplicate(FINAL.id)
    change = monta_calls.duplicate_stop_intended(change, FINAL.id, now=after(482), policy=POLICY)
    change = monta_calls.duplicate_stop_answered(change, replace(again, seen_at=after(483)), POLICY)
    assert not any(duplicate.live for duplicate in change.session.duplicates)


@pytest.mark.parametrize("begin", [ended, nothing_ran])
def test_F100_a_correction_of_the_energy_is_read_once_more_and_stops_nothing(
    begin: Callable[[], PaymentSession],
) -> None:
    session = begin()
    late = report("completed", 400, energy_wh=session.energy_wh + 500, price=Decimal("0.98"))
    change = monta_calls.read(Change(session), late, now=after(400), policy=POLICY)
    change = monta_calls.read(change, replace(late, seen_at=after(480)), now=after(480), policy=POLICY)
    assert change.session.duplicates == ()
    assert not isinstance(decide(change.session, POLICY, after(10**5)), ReadCharge | StopDuplicate)
