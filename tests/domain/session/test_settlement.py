"""Capture and release always add up to the hold, and never exceed it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.session.settlement import Settlement, SettlementAction, SettlementStatus, settle
from tests.domain.sessions import after

amounts = st.integers(0, 10_000_000)


def settled(authorized: int, price: int) -> Settlement:
    return settle(authorized, price, energy_wh=1, at=after(1), deadline=after(2), session_date=after(0))


@given(amounts, amounts)
def test_captured_and_released_add_up_to_what_was_authorized(authorized: int, price: int) -> None:
    made = settled(authorized, price)
    assert made.to_capture_minor + made.to_release_minor == authorized
    assert made.to_capture_minor + made.shortfall_minor == price
    assert min(made.to_capture_minor, made.to_release_minor, made.shortfall_minor) >= 0
    assert made.shortfall_minor == 0 or made.to_release_minor == 0
    assert (made.action is SettlementAction.CAPTURE) == (made.to_capture_minor > 0)
    assert made.status is SettlementStatus.DUE


@pytest.mark.parametrize(
    ("authorized", "price", "capture", "release", "shortfall"),
    [
        (2000, 0, 0, 2000, 0),
        (2000, 1, 1, 1999, 0),
        (2000, 1999, 1999, 1, 0),
        (2000, 2000, 2000, 0, 0),
        (2000, 2001, 2000, 0, 1),
        (2000, 90_000, 2000, 0, 88_000),
    ],
)
def test_the_table_of_settlements(
    authorized: int, price: int, capture: int, release: int, shortfall: int
) -> None:
    made = settled(authorized, price)
    assert (made.to_capture_minor, made.to_release_minor, made.shortfall_minor) == (
        capture,
        release,
        shortfall,
    )
    assert made.action == ("capture" if capture else "release")


@pytest.mark.parametrize(("authorized", "price"), [(2000, -1), (-1, 0)])
def test_nothing_negative_is_ever_settled(authorized: int, price: int) -> None:
    with pytest.raises(ValueError, match="negative"):
        settled(authorized, price)
