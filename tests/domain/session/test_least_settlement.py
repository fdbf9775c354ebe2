"""app/domain/session/settle: prices and energies below the operator's least are released."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.reconciliation.differences import differences
from app.domain.session.late_facts import compare_late_price
from app.domain.session.machine import Change, Source
from app.domain.session.payment_session import PaymentSession
from app.domain.session.reports import apply_report
from app.domain.session.settle import settle_by_person, settle_final, settle_unfinished
from app.domain.session.settlement import SettlementBasis
from app.domain.session.states.journal import JournalKind
from tests.domain.sessions import POLICY, after, report, running


def completed(energy_wh: int, price: Decimal, **policies: int) -> Change:
    final = report("completed", 100, energy_wh=energy_wh, price=price)
    return apply_report(running(0, tariff=None, **policies), final, Source.MONTA_API, POLICY)


def settled(change: Change) -> PaymentSession:
    return settle_final(change, after(101), POLICY).session


@pytest.mark.parametrize(
    ("policies", "energy_wh", "price", "to_capture"),
    [
        ({"least_capture_minor": 50}, 600, "0.49", 0),
        ({"least_capture_minor": 50}, 600, "0.50", 50),
        ({"least_energy_wh": 100}, 99, "0.80", 0),
        ({"least_energy_wh": 100}, 100, "0.08", 8),
        ({"least_capture_minor": 50, "least_energy_wh": 100}, 600, "0.47", 0),
        ({}, 13, "0.01", 1),
    ],
)
def test_below_either_least_the_hold_is_released(
    policies: dict[str, int], energy_wh: int, price: str, to_capture: int
) -> None:
    change = settle_final(completed(energy_wh, Decimal(price), **policies), after(101), POLICY)
    settlement = change.session.settlement
    assert settlement is not None
    assert (settlement.to_capture_minor, settlement.to_release_minor) == (to_capture, 2000 - to_capture)
    waived = settlement.basis is SettlementBasis.BELOW_LEAST
    assert waived == (not to_capture)
    lines = [line.detail for line in change.lines if line.kind is JournalKind.BELOW_LEAST]
    assert lines == ([{"price_minor": int(Decimal(price) * 100)}] if waived else [])


@given(st.integers(0, 3000), st.integers(0, 400), st.integers(0, 3000), st.integers(0, 400))
def test_a_waived_price_is_no_difference_and_no_attention(
    energy_wh: int, price_minor: int, least_wh: int, least_minor: int
) -> None:
    price = Decimal(price_minor) / 100
    session = settled(completed(energy_wh, price, least_energy_wh=least_wh, least_capture_minor=least_minor))
    settlement = session.settlement
    assert settlement is not None
    assert settlement.to_capture_minor in (0, price_minor)
    if settlement.basis is SettlementBasis.BELOW_LEAST:
        assert price_minor
        assert price_minor < least_minor or energy_wh < least_wh
        again = apply_report(
            Change(session),
            report("completed", 200, energy_wh=energy_wh, price=price),
            Source.MONTA_API,
            POLICY,
        )
        assert again.session.attention == session.attention
        assert differences(session, [], POLICY, after(102)) == ()


def test_a_waived_price_that_changes_later_is_a_difference() -> None:
    session = settled(completed(600, Decimal("0.49"), least_capture_minor=50))
    late = report("completed", 200, energy_wh=6000, price=Decimal("4.74"))
    session = compare_late_price(apply_report(Change(session), late, Source.MONTA_API, POLICY)).session
    assert [item.code for item in session.attention] == ["record_changed"]
    (found,) = differences(session, [], POLICY, after(0) + timedelta(hours=1))
    assert (found.kind, found.amount_minor) == ("release_after_energy", 425)


def test_the_last_price_that_is_settled_before_the_hold_expires_is_never_waived() -> None:
    shown = report("stopped", 100, energy_wh=60, price=Decimal("0.05"))
    change = apply_report(
        running(0, tariff=None, least_capture_minor=50, least_energy_wh=100),
        shown,
        Source.MONTA_API,
        POLICY,
    )
    settlement = settle_unfinished(change, after(101), POLICY).session.settlement
    assert settlement is not None
    assert (settlement.basis, settlement.to_capture_minor) == (SettlementBasis.LAST_PRICE, 5)


def test_an_amount_of_operations_is_never_waived() -> None:
    change = completed(600, Decimal("0.49"), least_capture_minor=50)
    session = settle_by_person(change, 10, "agreed", now=after(101), policy=POLICY).session
    assert session.settlement is not None
    assert session.settlement.to_capture_minor == 10
