"""Writes a settlement as OCPI 2.3.0's Financial Advice Confirmation. Of its module `payments`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

from app.domain.reconciliation.balance import PspReport
from app.domain.session.payment_session import PaymentSession
from app.domain.session.settlement import CaptureOutcome, Settlement, SettlementStatus
from app.domain.tariff.tax import tax_split
from app.domain.units.money import format_minor, to_major

OcpiJson = str | Decimal | Sequence["OcpiJson"] | Mapping[str, "OcpiJson"]


class CaptureStatusCode(StrEnum):
    """OCPI's `CaptureStatusCode`."""

    SUCCESS = "SUCCESS"
    PARTIAL_SUCCESS = "PARTIAL_SUCCESS"
    FAILED = "FAILED"


MAX_LINE = 255
"""OCPI's string(255)."""


def financial_advice(session: PaymentSession, reports: Sequence[PspReport]) -> dict[str, OcpiJson] | None:
    """One confirmation; amounts are decimals in major units. None: no capture was reported for the session yet, or
    nothing was to be captured."""
    settlement = session.settlement
    captures = [r for r in reports if r.outcome is not CaptureOutcome.RELEASED]
    if settlement is None or not settlement.to_capture_minor or not captures:
        return None
    captured = sum(r.amount_minor for r in captures if r.outcome is CaptureOutcome.CAPTURED)
    status = _status(settlement, captured)
    advice: dict[str, OcpiJson] = {
        "id": session.id,
        "authorization_reference": session.authorization.reference,
        "total_costs": _price(session, captured),
        "currency": session.authorization.currency,
        "eft_data": _receipt_lines(session, captures),
        "capture_status_code": status.value,
        "last_updated": _time(max(r.reported_at for r in captures)),
    }
    if status is not CaptureStatusCode.SUCCESS:
        asked = format_minor(settlement.to_capture_minor, session.authorization.currency)
        done = format_minor(captured, session.authorization.currency)
        advice["capture_status_message"] = f"captured {done} of {asked}"
    return advice


def _status(settlement: Settlement, captured: int) -> CaptureStatusCode:
    if settlement.status is SettlementStatus.CONFIRMED and captured == settlement.to_capture_minor:
        return CaptureStatusCode.SUCCESS
    return CaptureStatusCode.PARTIAL_SUCCESS if captured else CaptureStatusCode.FAILED


def _price(session: PaymentSession, captured: int) -> dict[str, OcpiJson]:
    """Returns OCPI's Price before taxes, with taxes if known. Where the tariff names a single rate."""
    currency = session.authorization.currency
    shares = tax_split(session.tariff, captured)
    if not shares:
        return {"before_taxes": to_major(captured, currency)}
    return {
        "before_taxes": to_major(sum(s.net_minor for s in shares), currency),
        "taxes": [
            {"name": "VAT", "percentage": s.rate, "amount": to_major(s.tax_minor, currency)} for s in shares
        ],
    }


def _receipt_lines(session: PaymentSession, captures: Sequence[PspReport]) -> list[str]:
    """Returns what a receipt shows of the card payment. Never more of the card than its last four digits."""
    card = session.authorization.card
    shown = " ".join(filter(None, (card.brand, f"**** {card.last4}" if card.last4 else None)))
    lines = [f"Card: {shown}"] if shown else []
    lines += [f"{c.outcome.value}: {c.reference}" for c in captures]
    return [line[:MAX_LINE] for line in [*lines, f"Receipt: {session.display_reference}"]]


def _time(at: datetime) -> str:
    """OCPI's DateTime: RFC 3339 in UTC."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
