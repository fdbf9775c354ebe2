"""Tests of app/domain/session/settle.

A capture report as the session records it: status, journal line, and the attention that it raises and clears.
"""

from dataclasses import replace

import pytest

from app.domain.session.attention import AttentionCode as Code
from app.domain.session.machine import Change, Source
from app.domain.session.payment_session import PaymentSession, Status
from app.domain.session.settle import flag_overdue, reported
from app.domain.session.settlement import CaptureOutcome, CaptureReport, SettlementStatus, settle
from app.domain.session.states.journal import JournalKind
from tests.domain.sessions import POLICY, after, new_session

CAPTURED, RELEASED, FAILED = CaptureOutcome.CAPTURED, CaptureOutcome.RELEASED, CaptureOutcome.FAILED


def settled(bill_minor: int) -> PaymentSession:
    """Decided at 100 s, without shares by hold; the hold is valid until 300 s."""
    made = settle(1000, bill_minor, energy_wh=1, at=after(100), deadline=after(300), session_date=after(0))
    return replace(new_session(), status=Status.COMPLETED, settlement=made)


def told(outcome: CaptureOutcome, amount_minor: int, reference: str = "psp-1") -> CaptureReport:
    return CaptureReport(outcome=outcome, amount_minor=amount_minor, reference=reference)


def status_of(change: Change) -> SettlementStatus | None:
    return change.session.settlement.status if change.session.settlement else None


@pytest.mark.parametrize(
    ("bill_minor", "outcome", "amount_minor", "status"),
    [
        (700, CAPTURED, 700, SettlementStatus.CONFIRMED),
        (700, RELEASED, 300, SettlementStatus.DUE),
        (700, CAPTURED, 701, SettlementStatus.FAILED),
        (700, RELEASED, 301, SettlementStatus.FAILED),
        (0, RELEASED, 1000, SettlementStatus.CONFIRMED),
        (0, RELEASED, 1001, SettlementStatus.FAILED),
    ],
)
def test_F104_a_report_sets_the_status_and_is_journaled(
    bill_minor: int, outcome: CaptureOutcome, amount_minor: int, status: SettlementStatus
) -> None:
    change = reported(Change(settled(bill_minor)), [told(outcome, amount_minor)], after(200), POLICY)
    assert status_of(change) is status
    line = change.lines[0]
    assert (line.kind, line.source) == (JournalKind.CAPTURE_REPORTED, Source.TERMINAL)
    assert line.detail == {
        "outcome": outcome,
        "amount_minor": amount_minor,
        "reference": "psp-1",
        "authorization_reference": None,
        "retryable": True,
        "status": status,
        "retry_at": None,
    }


def test_F104_a_capture_that_differs_needs_attention_until_another_report_makes_up_for_it() -> None:
    final = replace(told(FAILED, 700), retryable=False)
    failed = reported(Change(settled(700)), [final], after(200), POLICY)
    items = failed.session.attention
    assert [item.code for item in items] == [Code.CAPTURE_FAILED, Code.CAPTURE_DIFFERS]
    assert items[1].detail == (
        "the PSP did not do what was settled: captured 0.00 EUR of 7.00 EUR, released 0.00 EUR of 3.00 EUR,"
        " a failure was reported"
    )
    assert items[1].about == items[1].detail, "another difference is another cause"
    both = [final, told(CAPTURED, 700, "psp-2")]
    assert reported(failed, both, after(210), POLICY).session.attention == ()


def test_F73_a_report_ends_the_attention_about_an_overdue_capture() -> None:
    overdue = flag_overdue(Change(settled(700)), after(250))
    assert [item.code for item in overdue.session.attention] == [Code.CAPTURE_OVERDUE]
    assert reported(overdue, [told(CAPTURED, 700)], after(260), POLICY).session.attention == ()
    partly = reported(overdue, [told(CAPTURED, 300)], after(260), POLICY)
    assert [item.code for item in partly.session.attention] == [Code.CAPTURE_OVERDUE]


@pytest.mark.parametrize(
    ("outcome", "amount_minor", "at", "late"),
    [
        (CAPTURED, 700, 300, False),
        (CAPTURED, 700, 301, True),
        (CAPTURED, 1, 301, True),
        (CAPTURED, 0, 301, False),
        (RELEASED, 300, 301, False),
    ],
)
def test_only_money_that_is_captured_after_its_hold_expired_is_late(
    outcome: CaptureOutcome, amount_minor: int, at: float, late: bool
) -> None:
    change = reported(Change(settled(700)), [told(outcome, amount_minor)], after(at), POLICY)
    assert (Code.REPORTED_LATE in [item.code for item in change.session.attention]) is late


def test_without_a_settlement_a_report_changes_nothing() -> None:
    change = Change(new_session())
    assert reported(change, [told(CAPTURED, 700)], after(200), POLICY) is change
