"""Sessions with hold, PSP and Monta's record in agreement, for the tests of reconciliation."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from app.domain.charging.charge import Charge, ChargeReport, ChargeState
from app.domain.reconciliation.balance import PspReport
from app.domain.session.payment_session import Authorization, PaymentSession, Status
from app.domain.session.settlement import (
    CaptureOutcome,
    CaptureReport,
    SettlementBasis,
    after_reports,
    settle,
)
from app.domain.tariff import Tariff, parse_tariff
from app.domain.units.ids import SessionId, TerminalId
from tests.domain.sessions import T0, new_session, report

CAPTURED, RELEASED, FAILED = CaptureOutcome.CAPTURED, CaptureOutcome.RELEASED, CaptureOutcome.FAILED
NOW = T0 + timedelta(days=30)
DEADLINE = T0 + timedelta(days=7)
DECIDED = T0 + timedelta(hours=1)
REPORTED = DECIDED + timedelta(minutes=1)


def final(energy_wh: int, price: str, **more: object) -> ChargeReport:
    return report("completed", 3600, energy_wh=energy_wh, price=Decimal(price), from_record=True, **more)


def with_record(session: PaymentSession, record: ChargeReport) -> PaymentSession:
    """The session once Monta's record was read as this."""
    known = Charge(
        latest=record,
        energy_wh=record.energy_wh or 0,
        energy_at=record.seen_at,
        seen_at=record.seen_at,
        final_read=record.state is ChargeState.COMPLETED,
    )
    return replace(session, charge=known)


def settled(
    price_minor: int = 790,
    energy_wh: int = 10_000,
    *,
    authorized_minor: int = 2000,
    number: int = 1,
    basis: SettlementBasis = SettlementBasis.FINAL_PRICE,
    record: ChargeReport | None = None,
) -> PaymentSession:
    """A session that was settled by Monta's final price, or by `record`."""
    terminal_id = TerminalId(f"trm_{number % 7}")
    held = Authorization(reference=f"A-{number}", amount_minor=authorized_minor, currency="EUR")
    session = new_session(id=SessionId(f"ps_{number:05}"), terminal_id=terminal_id, authorization=held)
    known = record or final(energy_wh, f"{price_minor / 100:.2f}")
    session = replace(with_record(session, known), settled_record=known)
    settlement = settle(
        authorized_minor,
        price_minor,
        energy_wh=energy_wh,
        at=DECIDED,
        deadline=DEADLINE,
        session_date=T0,
        basis=basis,
    )
    status = Status.COMPLETED if settlement.to_capture_minor else Status.NOT_STARTED
    return replace(session, settlement=settlement, status=status)


def captured(session: PaymentSession) -> list[PspReport]:
    """What the PSP reports when it does what was settled."""
    assert session.settlement is not None
    amount = session.settlement.to_capture_minor
    done = (CAPTURED, amount) if amount else (RELEASED, session.settlement.to_release_minor)
    return [PspReport(outcome=done[0], amount_minor=done[1], reported_at=REPORTED, reference="P-1")]


def by_reports(session: PaymentSession, reports: list[PspReport]) -> PaymentSession:
    """The session with the status that these reports give its settlement."""
    assert session.settlement is not None
    told = [
        CaptureReport(outcome=r.outcome, amount_minor=r.amount_minor, reference=r.reference) for r in reports
    ]
    return replace(session, settlement=after_reports(session.settlement, told))


def taxed_at(vat: str | None) -> Tariff:
    """A tariff with this VAT in percent, included; without one it names none."""
    component = {"type": "ENERGY", "price": "0.79", "step_size": 1} | ({} if vat is None else {"vat": vat})
    source = {
        "id": "t",
        "currency": "EUR",
        "tax_included": "YES",
        "elements": [{"price_components": [component]}],
    }
    return parse_tariff(source)
