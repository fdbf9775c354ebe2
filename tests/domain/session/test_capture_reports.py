"""Tests of app/domain/session/settlement.

What the PSP did counts by its sum: in pieces, twice, after a failure, and in any order.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.session.holds import Hold, spread
from app.domain.session.settlement import (
    CaptureOutcome,
    CaptureReport,
    Settlement,
    SettlementStatus,
    after_reports,
    same_report,
    settle,
    what_differs,
)
from tests.domain.sessions import after

CAPTURED, RELEASED, FAILED = CaptureOutcome.CAPTURED, CaptureOutcome.RELEASED, CaptureOutcome.FAILED
HOLDS = {"A": 1000, "B": 500, "C": 300}


def settled(bill: int, *holds: str) -> Settlement:
    total = sum(HOLDS[h] for h in holds)
    made = settle(total, bill, energy_wh=1, at=after(1), deadline=after(2), session_date=after(0))
    over = [Hold(reference=h, amount_minor=HOLDS[h], valid_until=after(n)) for n, h in enumerate(holds)]
    return replace(made, shares=spread(made.to_capture_minor, over))


def report(outcome: CaptureOutcome, amount: int, number: int, hold: str | None = None) -> CaptureReport:
    return CaptureReport(
        outcome=outcome, amount_minor=amount, reference=f"psp-{number}", authorization_reference=hold
    )


def told(*done: tuple[CaptureOutcome, int] | tuple[CaptureOutcome, int, str]) -> list[CaptureReport]:
    return [report(d[0], d[1], n, d[2] if len(d) == 3 else None) for n, d in enumerate(done)]


@pytest.mark.parametrize(
    ("bill", "reports", "status"),
    [
        (0, told((CAPTURED, 0)), "confirmed"),
        (0, told((RELEASED, 0)), "confirmed"),
        (0, told((RELEASED, 1000)), "confirmed"),
        (0, told((RELEASED, 400)), "due"),
        (0, told((RELEASED, 400), (RELEASED, 600)), "confirmed"),
        (0, told((RELEASED, 1000), (RELEASED, 1000)), "confirmed"),
        (0, told((RELEASED, 1000), (CAPTURED, 0)), "confirmed"),
        (0, told((FAILED, 1000)), "failed"),
        (0, told((FAILED, 1000), (RELEASED, 1000)), "confirmed"),
        (0, told((FAILED, 0), (CAPTURED, 0)), "confirmed"),
        (0, told((CAPTURED, 1)), "failed"),
        (0, told((RELEASED, 1000), (CAPTURED, 1)), "failed"),
        (0, told((RELEASED, 1001)), "failed"),
        (700, told((CAPTURED, 700)), "confirmed"),
        (700, told((CAPTURED, 300)), "due"),
        (700, told((CAPTURED, 0)), "due"),
        (700, told((CAPTURED, 300), (CAPTURED, 400)), "confirmed"),
        (700, told((CAPTURED, 300), (CAPTURED, 401)), "failed"),
        (700, told((CAPTURED, 700), (CAPTURED, 700)), "failed"),
        (700, told((FAILED, 700)), "failed"),
        (700, told((FAILED, 700), (CAPTURED, 700)), "confirmed"),
        (700, told((FAILED, 700), (FAILED, 700), (CAPTURED, 300), (CAPTURED, 400)), "confirmed"),
        (700, told((FAILED, 700), (CAPTURED, 300)), "failed"),
        (700, told((RELEASED, 300)), "due"),
        (700, told((RELEASED, 300), (CAPTURED, 700)), "confirmed"),
        (700, told((CAPTURED, 700), (RELEASED, 300), (RELEASED, 300)), "confirmed"),
        (700, told((CAPTURED, 700), (RELEASED, 100), (RELEASED, 200)), "confirmed"),
        (700, told((CAPTURED, 700), (RELEASED, 0)), "confirmed"),
        (700, told((RELEASED, 1000)), "failed"),
        (700, told((RELEASED, 300), (RELEASED, 300)), "failed"),
        (700, told((CAPTURED, 700), (RELEASED, 1000)), "failed"),
        (1000, told((RELEASED, 0), (CAPTURED, 1000)), "confirmed"),
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_F104_the_status_follows_what_the_money_did(
    bill: int, reports: list[CaptureReport], status: str, *, named: bool
) -> None:
    if named:
        reports = [replace(r, authorization_reference="A") for r in reports]
    for order in (reports, reports[::-1]):
        assert after_reports(settled(bill, "A"), order).status == status


@pytest.mark.parametrize(
    ("bill", "reports", "status"),
    [
        (1200, told((CAPTURED, 1000, "A"), (CAPTURED, 100, "B"), (CAPTURED, 100, "B")), "confirmed"),
        (1200, told((CAPTURED, 700), (CAPTURED, 500)), "confirmed"),
        (1200, told((CAPTURED, 1000, "A"), (CAPTURED, 200)), "confirmed"),
        (1200, told((CAPTURED, 700, "A"), (CAPTURED, 500, "B")), "confirmed"),
        (1200, told((CAPTURED, 700, "A"), (RELEASED, 300, "A"), (CAPTURED, 500, "B")), "confirmed"),
        (1200, told((FAILED, 0, "B"), (CAPTURED, 1000, "A")), "failed"),
        (1200, told((FAILED, 0, "B"), (CAPTURED, 1000, "A"), (CAPTURED, 200, "B")), "confirmed"),
        (1200, told((CAPTURED, 1000, "A"), (CAPTURED, 201, "B")), "failed"),
        (1200, told((CAPTURED, 1200, "A")), "failed"),
        (1200, told((CAPTURED, 1000, "A"), (RELEASED, 500, "B")), "failed"),
        (800, told((CAPTURED, 800, "A"), (CAPTURED, 0, "B")), "confirmed"),
        (0, told((CAPTURED, 0, "A"), (RELEASED, 500, "B")), "confirmed"),
        (0, told((CAPTURED, 0)), "confirmed"),
        (0, told((CAPTURED, 0, "A")), "due"),
    ],
)
def test_F104_with_several_holds_too(bill: int, reports: list[CaptureReport], status: str) -> None:
    for order in (reports, reports[::-1]):
        assert after_reports(settled(bill, "A", "B"), order).status == status


def test_F104_a_repeat_is_the_same_act_under_the_same_reference() -> None:
    first = report(CAPTURED, 1, 1)
    assert same_report(first, replace(first, amount_minor=2))
    assert same_report(first, replace(first, authorization_reference="A"))
    assert not same_report(first, replace(first, reference="another"))
    assert not same_report(first, replace(first, outcome=RELEASED))
    of_a, of_b = (replace(first, authorization_reference=h) for h in ("A", "B"))
    assert not same_report(of_a, of_b), "one PSP reference may be of several holds"


holds = st.lists(st.sampled_from("ABC"), min_size=1, max_size=3, unique=True)


@st.composite
def stories(draw: st.DrawFn) -> tuple[Settlement, list[CaptureReport]]:
    mine = draw(holds)
    settlement = settled(draw(st.integers(0, sum(HOLDS[h] for h in mine))), *mine)
    amounts = st.one_of(
        st.sampled_from([0, settlement.to_capture_minor, settlement.to_release_minor]), st.integers(0, 2000)
    )
    some = st.tuples(st.sampled_from(CaptureOutcome), amounts, st.sampled_from([None, *mine]))
    done = draw(st.lists(some, max_size=6))
    return settlement, [report(o, a, n, h) for n, (o, a, h) in enumerate(done)]


@given(stories(), st.randoms(use_true_random=False))
def test_F104_order_and_repeats_change_nothing(
    story: tuple[Settlement, list[CaptureReport]], random: Random
) -> None:
    settlement, reports = story
    once = after_reports(settlement, reports)
    shuffled = [*reports, *(r for r in reports if random.random() < 0.5)]
    random.shuffle(shuffled)
    assert after_reports(settlement, shuffled) == once
    assert after_reports(once, shuffled) == once, "the status before has no part in it"
    one_by_one = settlement
    for n in range(1, len(reports) + 1):
        one_by_one = after_reports(one_by_one, reports[:n])
    assert one_by_one == (once if reports else settlement)


@given(stories())
def test_F104_confirmed_means_that_the_driver_paid_what_was_settled(
    story: tuple[Settlement, list[CaptureReport]],
) -> None:
    settlement, reports = story
    after_all = after_reports(settlement, reports)
    captured = sum(r.amount_minor for r in reports if r.outcome is CAPTURED)
    if after_all.status is SettlementStatus.CONFIRMED:
        assert captured == settlement.to_capture_minor
        assert what_differs(after_all, reports, "EUR") is None
    if captured > settlement.to_capture_minor:
        assert after_all.status is SettlementStatus.FAILED
    if after_all.status is SettlementStatus.FAILED:
        assert "EUR" in str(what_differs(after_all, reports, "EUR"))
    same_amounts = ("to_capture_minor", "to_release_minor", "shortfall_minor")
    assert all(getattr(after_all, name) == getattr(settlement, name) for name in same_amounts)


def pieces(amount: int, cuts: Sequence[int]) -> list[int]:
    marks = sorted({min(cut, amount) for cut in cuts} | {0, amount})
    return [b - a for a, b in pairwise(marks)] or [0]


@given(
    st.integers(0, 1800),
    st.lists(st.integers(0, 1800), max_size=4),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_F104_whatever_the_pieces_the_whole_is_confirmed_and_no_sooner(
    bill: int, cuts: list[int], failed_first: bool, random: Random
) -> None:
    settlement = settled(bill, "A", "B", "C")
    parts = [report(CAPTURED, part, n) for n, part in enumerate(pieces(bill, cuts))]
    if failed_first:
        parts.append(report(FAILED, bill, 99))
    random.shuffle(parts)
    for n in range(len(parts)):
        if sum(p.amount_minor for p in parts[:n] if p.outcome is CAPTURED) < bill:
            assert after_reports(settlement, parts[:n]).status is not SettlementStatus.CONFIRMED
    assert after_reports(settlement, parts).status is SettlementStatus.CONFIRMED
