"""What is at stake in an attention item."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.reconciliation.at_risk import at_risk_minor
from app.domain.session.attention import UNKNOWN, Attention, AttentionCode, row_of
from app.domain.session.payment_session import PaymentSession
from tests.domain.reconciliation.days import final, settled, with_record
from tests.domain.sessions import Event, courses, new_session, play

C = AttentionCode


def at_risk(session: PaymentSession, code: str) -> int | None:
    return at_risk_minor(session, Attention(code=code, detail=""))


@pytest.mark.parametrize(
    ("session", "code", "expected"),
    [
        (new_session(), C.HOLD_EXPIRING, 2000),
        (with_record(new_session(), final(2000, "1.58")), C.FINAL_RECORD_HELD, 158),
        (with_record(new_session(), final(2000, "99.00")), C.FINAL_RECORD_HELD, 2000),
        (settled(3160, 40_000), C.SHORTFALL, 1160),
        (settled(790), C.CAPTURE_OVERDUE, 790),
        (with_record(settled(790), final(12_000, "9.48")), C.RECORD_CHANGED, 158),
        (settled(790), C.CAPTURE_FAILED, 790),
        (settled(790), C.RAN_ON, None),
        (settled(790), C.SEAL_DOES_NOT_FIT, None),
        (settled(790), C.REPORTED_LATE, 0),
    ],
)
def test_the_amount_is_what_may_be_lost(
    session: PaymentSession, code: AttentionCode, expected: int | None
) -> None:
    assert at_risk(session, code) == expected


@given(courses, st.sampled_from([*C, "of_a_newer_version"]))
def test_whatever_happened_no_more_than_authorized_or_charged_is_at_risk(
    course: list[Event], code: str
) -> None:
    session = play(course).session
    amount = at_risk(session, code)
    assert amount is None or amount >= 0
    if session.settlement is None and amount is not None:
        assert amount <= session.authorized_minor


def test_a_code_of_a_newer_version_has_words() -> None:
    assert row_of("of_a_newer_version") is UNKNOWN
    assert row_of("shortfall").action
