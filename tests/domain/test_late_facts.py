"""Late facts: an ended session's record is read again for a reason, so many times and no more."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from app.domain import attempts, conclusion, late_facts
from app.domain.attention import AttentionCode
from app.domain.change import Change, Source
from app.domain.charge import ChargeState
from app.domain.decision import decide
from app.domain.late_facts import MAX_RECHECKS
from app.domain.payment_session import PaymentSession
from app.domain.progress import absorb
from app.domain.steps import ReadCharge, Wait
from tests.domain.sessions import POLICY, after, report, running

FINAL = report(ChargeState.COMPLETED, 100, energy_wh=2000, price=Decimal("0.98"))


def ended() -> PaymentSession:
    change = absorb(running(2000), FINAL, Source.MONTA_API, POLICY)
    return conclusion.settled(change, after(101), POLICY).session


def test_F100_a_session_that_ended_is_not_read_without_a_reason() -> None:
    session = ended()
    assert decide(session, POLICY, after(10**6)) == Wait(None)
    same = absorb(Change(session), replace(FINAL, seen_at=after(200)), Source.MONTA_WEBHOOK, POLICY).session
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
        change = late_facts.reviewed(absorb(change, told, Source.MONTA_WEBHOOK, POLICY))
        assert change.session.attention == (), "a webhook alone says nothing"
        for _ in range(3):
            at += 400
            if not isinstance(decide(change.session, POLICY, after(at)), ReadCharge):
                continue
            reads += 1
            if fails:
                change = attempts.read_failed(change, "503", now=after(at), not_before=None, policy=POLICY)
            else:
                change = attempts.read(
                    change, replace(FINAL, seen_at=after(at)), now=after(at), policy=POLICY
                )
            change = late_facts.reviewed(change)
    assert reads <= MAX_RECHECKS
    assert change.session.attention == ()
    assert change.session.settlement == ended().settlement


def test_F100_a_record_that_is_gone_is_told_once_and_read_no_more() -> None:
    change = late_facts.doubted(Change(ended()), after(300))
    assert decide(change.session, POLICY, after(300)) == ReadCharge(FINAL.id)
    for _ in range(3):
        change = attempts.read_failed(change, "404", now=after(301), not_before=None, policy=POLICY)
        change = late_facts.record_gone(change)
    assert [item.code for item in change.session.attention] == [AttentionCode.RECORD_GONE]
    assert decide(change.session, POLICY, after(300) + timedelta(days=1)) == Wait(None)
    back = attempts.read(change, FINAL, now=after(400), policy=POLICY)
    assert back.session.attention == ()


@given(st.lists(st.tuples(prices, st.sampled_from([0, 2000, 6000])), max_size=8))
def test_F100_the_attention_says_whether_the_record_is_as_it_was_settled(
    course: list[tuple[Decimal, int]],
) -> None:
    change = Change(ended())
    for n, (price, energy_wh) in enumerate(course):
        record = report(ChargeState.COMPLETED, 200 + 10 * n, energy_wh=energy_wh, price=price)
        for _ in range(2):
            change = late_facts.reviewed(absorb(change, record, Source.MONTA_API, POLICY))
        differs = (price, energy_wh) != (Decimal("0.98"), 2000)
        assert [item.code for item in change.session.attention] == [AttentionCode.RECORD_CHANGED] * differs
