"""Tests of app/domain/session/settle.

A settlement whose capture result is not reported: flagged once, at half of the time that its holds had left.
"""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.session.attention import AttentionCode
from app.domain.session.machine import Change, Source
from app.domain.session.payment_session import PaymentSession, Status
from app.domain.session.settle import OVERDUE, clear_overdue, flag_overdue
from app.domain.session.settlement import SettlementStatus, settle
from tests.domain.sessions import after, new_session


def settled(price_minor: int, status: SettlementStatus = SettlementStatus.DUE) -> PaymentSession:
    """Decided at 100 s; the hold is valid until 300 s."""
    decided = settle(
        1000, price_minor, energy_wh=1, at=after(100), deadline=after(300), session_date=after(0)
    )
    return replace(new_session(), status=Status.COMPLETED, settlement=replace(decided, status=status))


@pytest.mark.parametrize("price_minor", [700, 0])
def test_F73_attention_is_raised_at_half_of_the_remaining_time_and_not_before(price_minor: int) -> None:
    young = Change(settled(price_minor))
    assert flag_overdue(young, after(199)) is young
    asked = flag_overdue(young, after(200))
    assert [item.detail for item in asked.session.attention] == [OVERDUE]
    assert [line.kind for line in asked.lines] == ["attention_needed"]
    assert asked.session.settlement is not None
    assert asked.session.settlement.overdue_since == after(200)


def test_F73_attention_is_raised_once_also_after_it_was_acknowledged() -> None:
    asked = flag_overdue(Change(settled(700)), after(250)).session
    closed = Change(replace(asked, attention=()))
    assert flag_overdue(closed, after(290)) is closed


@pytest.mark.parametrize("status", [SettlementStatus.CONFIRMED, SettlementStatus.FAILED])
def test_F73_no_attention_is_raised_about_a_known_outcome(status: SettlementStatus) -> None:
    known = Change(settled(700, status))
    assert flag_overdue(known, after(1000)) is known


@pytest.mark.parametrize("status", [SettlementStatus.CONFIRMED, SettlementStatus.FAILED])
def test_F73_the_question_ends_with_the_outcome_and_other_questions_stay(status: SettlementStatus) -> None:
    both = Change(settled(700)).raise_attention(AttentionCode.SHORTFALL, "another", Source.WATCHER)
    asked = flag_overdue(both, after(250)).session
    assert asked.settlement is not None
    told = replace(asked, settlement=replace(asked.settlement, status=status))
    over = clear_overdue(Change(told), Source.TERMINAL)
    assert [item.detail for item in over.session.attention] == ["another"]
    assert [line.kind for line in over.lines] == ["attention_ended"]
    partly = Change(asked)
    assert clear_overdue(partly, Source.TERMINAL) is partly


def test_F73_a_hold_that_was_dead_when_it_was_settled_is_asked_about_at_once() -> None:
    late = settle(1000, 700, energy_wh=1, at=after(100), deadline=after(50), session_date=after(0))
    assert late.report_due_at == after(100)
    assert late.report_due_at - late.deadline == timedelta(seconds=50)
