"""The shape of OCPI 2.3.0's Financial Advice Confirmation."""

from dataclasses import replace
from decimal import Decimal

from app.domain.reconciliation.balance import PspReport
from app.domain.reconciliation.financial_advice import financial_advice
from app.domain.session.payment_session import Authorization, Card, PaymentSession
from app.domain.session.settlement import CaptureOutcome, CaptureReport, after_reports, settle
from app.domain.tariff import parse_tariff
from tests.domain.sessions import T0, after, new_session

REQUIRED = {
    *("id", "authorization_reference", "total_costs", "currency"),
    *("eft_data", "capture_status_code", "last_updated"),
}


def tariff(vat: float | None) -> dict[str, object]:
    component = {"type": "ENERGY", "price": "0.79", "step_size": 1} | ({} if vat is None else {"vat": vat})
    return {
        "id": "t",
        "currency": "EUR",
        "tax_included": "YES",
        "elements": [{"price_components": [component]}],
    }


def paid(vat: float | None = 19.0) -> PaymentSession:
    card = Card(brand="visa", last4="4242")
    held = Authorization(reference="A-1", amount_minor=2000, currency="EUR", card=card)
    settlement = settle(2000, 790, energy_wh=10_000, at=after(60), deadline=after(6000), session_date=T0)
    return new_session(authorization=held, tariff=parse_tariff(tariff(vat)), settlement=settlement)


def captured(amount: int = 790, outcome: CaptureOutcome = CaptureOutcome.CAPTURED) -> PspReport:
    return PspReport(outcome=outcome, amount_minor=amount, reported_at=after(90), reference="P-77")


def told(session: PaymentSession, report: PspReport) -> PaymentSession:
    assert session.settlement is not None
    given = CaptureReport(
        outcome=report.outcome, amount_minor=report.amount_minor, reference=report.reference
    )
    return replace(session, settlement=after_reports(session.settlement, [given]))


def test_a_confirmed_capture_is_a_success_with_its_tax() -> None:
    assert financial_advice(told(paid(), captured()), [captured()]) == {
        "id": "ps_01",
        "authorization_reference": "A-1",
        "total_costs": {
            "before_taxes": Decimal("6.64"),
            "taxes": [{"name": "VAT", "percentage": Decimal("19.0"), "amount": Decimal("1.26")}],
        },
        "currency": "EUR",
        "eft_data": ["Card: visa **** 4242", "captured: P-77", "Receipt: K7QM-4TXP"],
        "capture_status_code": "SUCCESS",
        "last_updated": "2026-11-22T10:01:30.000Z",
    }


def test_less_than_settled_is_a_partial_success_and_a_refusal_has_failed() -> None:
    partial = financial_advice(told(paid(None), captured(500)), [captured(500)])
    assert partial is not None
    assert partial["capture_status_code"] == "PARTIAL_SUCCESS"
    assert partial["total_costs"] == {"before_taxes": Decimal("5.00")}
    assert partial["capture_status_message"] == "captured 5.00 EUR of 7.90 EUR"
    refused = captured(790, CaptureOutcome.FAILED)
    failed = financial_advice(told(paid(), refused), [refused])
    assert failed is not None
    assert failed["capture_status_code"] == "FAILED"
    assert partial.keys() - {"capture_status_message"} == REQUIRED


def test_nothing_is_confirmed_before_a_capture_is_reported() -> None:
    assert financial_advice(new_session(), []) is None
    assert financial_advice(paid(), []) is None
    assert financial_advice(paid(), [captured(1210, CaptureOutcome.RELEASED)]) is None
