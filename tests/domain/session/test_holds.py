"""Several holds: which expires first, and how a bill is spread over them to the cent."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.session.holds import Hold, hold_deadline, holds, settle_by, spread, stop_by
from app.domain.session.payment_session import Authorization, TopUp
from app.domain.session.settlement import (
    CaptureOutcome,
    CaptureReport,
    HoldUnknown,
    Settlement,
    SettlementStatus,
    after_reports,
    settle,
)
from tests.domain.sessions import POLICY, T0, after, new_session

amounts = st.lists(st.integers(1, 20_000), min_size=1, max_size=6)


@given(amounts, st.integers(0, 120_000))
def test_the_bill_is_spread_over_the_holds_to_the_cent_and_each_adds_up(found: list[int], bill: int) -> None:
    bill = min(bill, sum(found))
    several = [
        Hold(reference=str(n), amount_minor=amount, valid_until=after(n)) for n, amount in enumerate(found)
    ]
    shares = spread(bill, several)
    assert sum(share.to_capture_minor for share in shares) == bill
    for share in shares:
        assert share.to_capture_minor + share.to_release_minor == share.amount_minor
        assert min(share.to_capture_minor, share.to_release_minor) >= 0
    for place, share in enumerate(shares):
        if any(later.to_capture_minor for later in shares[place + 1 :]):
            assert share.to_capture_minor == share.amount_minor, "the earlier hold is used up first"


def test_holds_come_in_the_order_in_which_they_expire() -> None:
    first = Authorization(reference="A", amount_minor=1000, currency="EUR", expires_at=after(9000))
    early = TopUp(reference="B", amount_minor=500, at=after(10), expires_at=after(5000))
    by_policy = TopUp(reference="C", amount_minor=200, at=after(20))
    session = new_session(authorization=first, top_ups=(early, by_policy))
    assert [hold.reference for hold in holds(session, POLICY)] == ["B", "A", "C"]
    assert hold_deadline(session, POLICY) == after(5000)
    assert session.authorized_minor == 1700


def test_the_operators_days_count_when_the_terminal_does_not_say() -> None:
    assert hold_deadline(new_session(hold_days=3), POLICY) == T0 + timedelta(days=3)
    assert hold_deadline(new_session(), POLICY) == T0 + timedelta(days=POLICY.hold_days)


@given(st.integers(1, 60 * 86_400))
def test_a_stop_leaves_time_to_settle_and_a_settlement_time_to_capture(seconds: int) -> None:
    held = Authorization(reference="A", amount_minor=1, currency="EUR", expires_at=after(seconds))
    session = new_session(authorization=held)
    assert T0 < stop_by(session, POLICY) < settle_by(session, POLICY) < after(seconds)


def two_holds(bill: int) -> Settlement:
    made = settle(1500, bill, energy_wh=1, at=after(1), deadline=after(2), session_date=after(0))
    several = (
        Hold(reference="A", amount_minor=1000, valid_until=after(1)),
        Hold(reference="B", amount_minor=500, valid_until=after(2)),
    )
    return replace(made, shares=spread(bill, several))


CAPTURED, RELEASED = CaptureOutcome.CAPTURED, CaptureOutcome.RELEASED


@pytest.mark.parametrize(
    ("bill", "reports", "status"),
    [
        (1200, [(CAPTURED, 1000, "A")], "due"),
        (1200, [(CAPTURED, 1000, "A"), (CAPTURED, 200, "B")], "confirmed"),
        (1200, [(CAPTURED, 200, "B"), (CAPTURED, 1000, "A")], "confirmed"),
        (1200, [(CAPTURED, 1000, "A"), (CAPTURED, 500, "B")], "failed"),
        (1200, [(CAPTURED, 1200, None)], "confirmed"),
        (800, [(RELEASED, 200, "A")], "due"),
        (800, [(CAPTURED, 800, "A")], "confirmed"),
        (800, [(CAPTURED, 500, "B")], "failed"),
        (0, [(RELEASED, 1000, "A")], "due"),
        (0, [(RELEASED, 1000, "A"), (RELEASED, 500, "B")], "confirmed"),
        (0, [(RELEASED, 1500, None)], "confirmed"),
    ],
)
def test_the_matter_is_closed_when_each_hold_that_is_captured_is_confirmed(
    bill: int, reports: list[tuple[CaptureOutcome, int, str | None]], status: str
) -> None:
    settlement = two_holds(bill)
    told = [
        CaptureReport(
            outcome=outcome, amount_minor=amount, reference=f"psp-{n}", authorization_reference=hold
        )
        for n, (outcome, amount, hold) in enumerate(reports)
    ]
    settlement = after_reports(settlement, told)
    assert settlement.status is SettlementStatus(status)


def test_a_report_about_an_unknown_hold_is_no_report() -> None:
    with pytest.raises(HoldUnknown):
        after_reports(
            two_holds(1200),
            [
                CaptureReport(
                    outcome=CAPTURED, amount_minor=1, reference="psp", authorization_reference="unknown"
                )
            ],
        )
