"""Tests of app/domain/session/settlement and settle: when a refused capture is tried again."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.limit.policy import Policy
from app.domain.session.attention import AttentionCode as Code
from app.domain.session.holds import Hold, spread
from app.domain.session.machine import Change
from app.domain.session.payment_session import PaymentSession, Status, TopUp
from app.domain.session.settle import reported
from app.domain.session.settlement import (
    MAX_ATTEMPTS,
    CaptureOutcome,
    CaptureReport,
    Settlement,
    SettlementStatus,
    retry_time,
    settle,
)
from tests.domain.sessions import POLICY, T0, after, new_session

CAPTURED, RELEASED, FAILED = CaptureOutcome.CAPTURED, CaptureOutcome.RELEASED, CaptureOutcome.FAILED
MINUTE, HOUR, DAY = 60, 3600, 86_400
EXPIRES = 2 * DAY


def settled(bill_minor: int = 700, top_up_minor: int = 0) -> PaymentSession:
    """20 EUR, and a top-up; its holds are valid for two days from T0."""
    top_ups = (TopUp(reference="A-2", amount_minor=top_up_minor, at=T0),) if top_up_minor else ()
    total = 2000 + top_up_minor
    holds = [
        Hold(reference=r, amount_minor=a, valid_until=after(EXPIRES))
        for r, a in (("A-1", 2000), ("A-2", top_up_minor))
        if a
    ]
    made = settle(
        total, bill_minor, energy_wh=1, at=after(100), deadline=after(EXPIRES), session_date=after(0)
    )
    made = replace(made, shares=spread(bill_minor, holds))
    return replace(new_session(), status=Status.COMPLETED, settlement=made, top_ups=top_ups)


def told(outcome: CaptureOutcome, at: float, number: int = 0, **more: object) -> CaptureReport:
    plain = CaptureReport(outcome=outcome, amount_minor=700, reference=f"psp-{number}", reported_at=after(at))
    return replace(plain, **more)  # type: ignore[arg-type]  # fields by name


def after_all(session: PaymentSession, reports: Sequence[CaptureReport]) -> PaymentSession:
    """The session after each report at its time."""
    for count, report in enumerate(reports, start=1):
        assert report.reported_at is not None
        session = reported(Change(session), reports[:count], report.reported_at, POLICY).session
    return session


def settlement_of(session: PaymentSession) -> Settlement:
    assert session.settlement is not None
    return session.settlement


def codes(session: PaymentSession) -> list[str]:
    return [item.code for item in session.attention]


@pytest.mark.parametrize(
    ("attempts", "failed_at", "expected"),
    [
        (1, 0, MINUTE),
        (2, MINUTE, 6 * MINUTE),
        (3, 6 * MINUTE, 36 * MINUTE),
        (4, HOUR, 3 * HOUR),
        (5, 3 * HOUR, 9 * HOUR),
        (6, 9 * HOUR, 33 * HOUR),
        (7, 33 * HOUR, EXPIRES - 2 * MINUTE),
        (1, EXPIRES - 3 * MINUTE, EXPIRES - 2 * MINUTE),
        (1, EXPIRES - 3 * MINUTE + 1, None),
        (1, EXPIRES + DAY, None),
        (MAX_ATTEMPTS, 0, None),
    ],
)
def test_F74_a_refused_capture_is_tried_again_by_this_table(
    attempts: int, failed_at: float, expected: float | None
) -> None:
    at = retry_time(attempts, after(failed_at), after(EXPIRES), POLICY)
    assert at == (None if expected is None else after(expected))


@given(
    st.lists(st.integers(1, 100_000), min_size=1, max_size=8).map(sorted),
    st.integers(0, 3 * HOUR),
    st.integers(0, 31 * DAY),
    st.integers(0, 4 * DAY),
)
def test_F74_attempts_end_before_the_hold_and_never_crowd(
    pauses: list[int], margin_s: int, valid_s: int, late_s: int
) -> None:
    policy = Policy(capture_retry_s=tuple(pauses), capture_retry_margin_s=margin_s)
    last, attempts = after(valid_s - margin_s), 1
    failed_at: datetime | None = after(late_s)
    waited: list[timedelta] = []
    while failed_at is not None:
        assert attempts <= MAX_ATTEMPTS, "there is an end"
        again = retry_time(attempts, failed_at, after(valid_s), policy)
        if again is not None:
            assert again <= last, "never beyond the hold"
            waited.append(again - failed_at)
            assert waited[-1] >= timedelta(seconds=pauses[0])
        failed_at, attempts = again, attempts + 1
    assert waited[:-1] == sorted(waited[:-1]), "less and less often, but for the last chance"
    if late_s + pauses[0] <= valid_s - margin_s:
        assert waited, "a hold with time left gets another attempt"


def test_F74_a_refusal_is_one_attention_item_until_the_amount_is_captured() -> None:
    once = after_all(settled(), [told(FAILED, 200)])
    settlement = settlement_of(once)
    assert (settlement.status, settlement.attempts) == (SettlementStatus.FAILED, 1)
    assert settlement.retry_at == after(260)
    assert codes(once) == [Code.CAPTURE_FAILED]
    twice = after_all(once, [told(FAILED, 200), told(FAILED, 265, 1)])
    assert (settlement_of(twice).attempts, settlement_of(twice).retry_at) == (2, after(565))
    assert twice.attention == once.attention, "the same item"
    done = after_all(twice, [told(FAILED, 200), told(FAILED, 265, 1), told(CAPTURED, 570, 2)])
    settlement = settlement_of(done)
    assert (settlement.status, settlement.attempts) == (SettlementStatus.CONFIRMED, 2)
    assert (settlement.retry_at, settlement.captured_minor, done.attention) == (None, 700, ())


def test_F74_a_final_refusal_and_one_at_the_holds_end_are_for_operations_at_once() -> None:
    for refusal in (told(FAILED, 200, retryable=False), told(FAILED, EXPIRES - 100)):
        session = after_all(settled(), [refusal])
        assert settlement_of(session).retry_at is None
        assert codes(session) == [Code.CAPTURE_FAILED, Code.CAPTURE_DIFFERS]


@pytest.mark.parametrize(
    "reports",
    [
        [told(CAPTURED, 200, amount_minor=701)],
        [told(FAILED, 200), told(CAPTURED, 300, 1, amount_minor=701)],
        [told(RELEASED, 200, amount_minor=2000)],
        [told(FAILED, 200), told(RELEASED, 300, 1, amount_minor=2000)],
    ],
)
def test_F74_what_went_wrong_otherwise_is_not_tried_again(reports: list[CaptureReport]) -> None:
    session = after_all(settled(), reports)
    assert settlement_of(session).status is SettlementStatus.FAILED
    assert settlement_of(session).retry_at is None
    assert Code.CAPTURE_DIFFERS in codes(session)


def test_F74_a_refused_release_is_not_tried_again() -> None:
    session = after_all(settled(0), [told(FAILED, 200, amount_minor=2000)])
    assert (settlement_of(session).attempts, settlement_of(session).retry_at) == (0, None)
    assert codes(session) == [Code.CAPTURE_DIFFERS]


def test_F74_of_several_holds_only_the_refused_one_is_tried_again() -> None:
    reports = [
        told(CAPTURED, 200, amount_minor=2000, authorization_reference="A-1"),
        told(FAILED, 210, 1, amount_minor=500, authorization_reference="A-2"),
    ]
    session = after_all(settled(2500, 1000), reports)
    settlement = settlement_of(session)
    assert [share.status for share in settlement.shares] == ["confirmed", "failed"]
    assert (settlement.captured_minor, settlement.attempts) == (2000, 1)
    assert settlement.retry_at == after(270)
    final = told(FAILED, 280, 2, amount_minor=500, retryable=False, authorization_reference="A-2")
    assert settlement_of(after_all(session, [*reports, final])).retry_at is None
    done = after_all(
        session, [*reports, told(CAPTURED, 280, 2, amount_minor=500, authorization_reference="A-2")]
    )
    assert (settlement_of(done).status, done.attention) == (SettlementStatus.CONFIRMED, ())
