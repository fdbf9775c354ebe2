"""How a session ends: billed by the final record and never above the hold, or released as a whole."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.session.holds import hold_deadline
from app.domain.session.machine import Change, NotAllowed, Source
from app.domain.session.payment_session import (
    Authorization,
    NotStartedReason,
    Start,
    StartOutcome,
    Status,
    StopReason,
)
from app.domain.session.reports import apply_report
from app.domain.session.settle import release_unused, settle_final
from tests.domain.sessions import CENT, POLICY, T0, after, new_session, posted, report, running


def final(price: Decimal | None, energy_wh: int | None = 3000) -> Change:
    """Ended with this price: no tariff contradicts it, and the hold is large enough for it to be one."""
    last = report("completed", 100, energy_wh=energy_wh, price=price)
    return apply_report(running(1000, tariff=None), last, Source.MONTA_API, POLICY)


@given(st.decimals(0, 26, places=4))
def test_F77_a_captured_amount_is_the_price_to_half_a_minor_unit_or_the_whole_hold(price: Decimal) -> None:
    made = settle_final(final(price, 5000), after(110), POLICY).session.settlement
    assert made is not None
    billed = Decimal(made.to_capture_minor + made.shortfall_minor) * CENT
    assert abs(billed - price) <= CENT / 2
    assert made.to_capture_minor <= 2000


def test_a_settlement_ends_the_session_and_is_on_record() -> None:
    change = settle_final(final(Decimal("2.375")), after(110), POLICY)
    made = change.session.settlement
    assert made is not None
    assert change.session.status is Status.COMPLETED
    assert (made.to_capture_minor, made.to_release_minor, made.energy_wh) == (238, 1762, 3000)
    assert (made.decided_at, made.session_date) == (after(110), after(1))
    line = change.lines[-1]
    assert (line.kind, line.detail["to_capture_minor"]) == ("settlement_decided", 238)


def test_F66_a_price_above_the_hold_needs_attention() -> None:
    session = settle_final(final(Decimal("20.01")), after(110), POLICY).session
    assert session.settlement is not None
    assert session.settlement.shortfall_minor == 1
    assert session.attention[0].detail == "the charge cost 0.01 EUR more than was authorized"


def test_the_energy_billed_is_the_final_one_and_the_peak_only_when_there_is_none() -> None:
    for told_wh, billed_wh in ((900, 900), (None, 1000)):
        made = settle_final(final(Decimal(1), told_wh), after(110), POLICY).session.settlement
        assert made is not None
        assert made.energy_wh == billed_wh


def test_nothing_is_settled_without_a_price_nor_twice() -> None:
    with pytest.raises(ValueError, match="no final price"):
        settle_final(final(None), after(110), POLICY)
    once = settle_final(final(Decimal(1)), after(110), POLICY)
    with pytest.raises(NotAllowed):
        settle_final(once, after(120), POLICY)
    with pytest.raises(NotAllowed):
        release_unused(once, NotStartedReason.CANCELED, after(120), POLICY)


def test_a_running_charge_can_neither_be_settled_nor_released() -> None:
    change = apply_report(running(), report(at=20, price=Decimal("0.10")), Source.MONTA_API, POLICY)
    with pytest.raises(NotAllowed):
        settle_final(change, after(30), POLICY)
    with pytest.raises(NotAllowed):
        release_unused(change, NotStartedReason.CANCELED, after(30), POLICY)


def test_giving_up_releases_everything_and_forgets_the_reason_of_a_stop() -> None:
    change = apply_report(running(), report("stopped", 40), Source.MONTA_API, POLICY)
    change = Change(replace(change.session, stop_reason=StopReason.LATE_START))
    session = release_unused(change, NotStartedReason.START_TIMEOUT, after(60), POLICY).session
    assert session.settlement is not None
    assert (session.settlement.to_capture_minor, session.settlement.to_release_minor) == (0, 2000)
    assert (session.status, session.stop_reason) == (Status.NOT_STARTED, None)
    assert session.not_started_reason is NotStartedReason.START_TIMEOUT


@pytest.mark.parametrize(
    ("outcome", "watched"),
    [(StartOutcome.UNKNOWN, True), (StartOutcome.NOT_DONE, False), (StartOutcome.REFUSED, False)],
)
def test_F75_only_an_unknown_start_is_watched_after_the_release(outcome: StartOutcome, watched: bool) -> None:
    start = Start(deadline=after(300), outcome=outcome, posts=1, intent_at=T0)
    change = release_unused(
        Change(new_session(start=start)), NotStartedReason.START_TIMEOUT, after(300), POLICY
    )
    until = after(300 + POLICY.duplicate_watch_s)
    assert change.session.watch_until == (until if watched else None)


def test_a_charge_that_is_stopped_but_not_completed_is_watched_after_the_release() -> None:
    change = apply_report(running(), report("stopped", 40), Source.MONTA_API, POLICY)
    change = release_unused(change, NotStartedReason.CANCELED, after(60), POLICY)
    assert change.session.watch_until == after(60 + POLICY.duplicate_watch_s)


def test_a_watch_that_lasts_longer_already_is_not_cut_short() -> None:
    far = after(90_000)
    change = Change(replace(posted().session, watch_until=far))
    change = release_unused(change, NotStartedReason.START_TIMEOUT, after(300), POLICY)
    assert change.session.watch_until == far


def test_the_hold_ends_when_the_terminal_says_else_after_the_usual_days() -> None:
    assert hold_deadline(new_session(), POLICY) == T0 + timedelta(days=POLICY.hold_days)
    held = Authorization(reference="A", amount_minor=1, currency="EUR", expires_at=after(5000))
    assert hold_deadline(new_session(authorization=held), POLICY) == after(5000)


def test_F79_a_settlement_after_the_holds_expiry_is_recorded_and_operations_alerted() -> None:
    change = final(Decimal("2.37"))
    late = hold_deadline(change.session, POLICY) + timedelta(seconds=1)
    session = settle_final(change, late, POLICY).session
    assert session.settlement is not None
    assert session.settlement.to_capture_minor == 237
    assert any("after the hold had expired" in item.detail for item in session.attention)
