"""Where a session's money is, by what was reported."""

import pytest

from app.domain.reconciliation.balance import PspReport, balance
from app.domain.session.settlement import CaptureOutcome
from tests.domain.reconciliation.days import CAPTURED, FAILED, RELEASED, REPORTED, by_reports, settled


@pytest.mark.parametrize(
    ("reports", "captured", "released", "still_open", "above"),
    [
        ([], 0, 0, 2000, 0),
        ([(CAPTURED, 790)], 790, 1210, 0, 0),
        ([(CAPTURED, 500)], 500, 0, 1500, 0),
        ([(FAILED, 790)], 0, 0, 2000, 0),
        ([(FAILED, 790), (CAPTURED, 790)], 790, 1210, 0, 0),
        ([(CAPTURED, 500), (RELEASED, 700)], 500, 700, 800, 0),
        ([(CAPTURED, 2500)], 2500, 0, 0, 500),
    ],
)
def test_money_is_captured_released_open_or_above(
    reports: list[tuple[CaptureOutcome, int]], captured: int, released: int, still_open: int, above: int
) -> None:
    """A confirmed capture frees the rest of its hold without another report."""
    given = [
        PspReport(outcome=outcome, amount_minor=amount, reported_at=REPORTED, reference=f"P-{n}")
        for n, (outcome, amount) in enumerate(reports)
    ]
    found = balance(by_reports(settled(790), given), given)
    assert (found.captured_minor, found.released_minor) == (captured, released)
    assert (found.open_minor, found.above_minor) == (still_open, above)
    assert (found.authorized_minor, found.settled_minor, found.monta_minor) == (2000, 790, 790)
