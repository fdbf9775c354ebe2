"""Response body of a month's charges."""

from decimal import Decimal

from pydantic import BaseModel, Field

from app.api.models.money import Moment
from app.domain.reconciliation.charges import BilledCharge, MonthOfCharges

AS_MONTA_SHOWS = "as Monta shows it; null: not yet"


class BilledChargeOut(BaseModel):
    """Amounts in minor units of `currency`."""

    operator_id: str
    session_id: str
    charge_id: str | None = Field(description="Monta's")
    display_reference: str
    terminal_id: str
    charge_point_id: str
    charge_point_name: str | None
    evse_id: str | None = Field(description=AS_MONTA_SHOWS)
    site_id: str | None = Field(description=AS_MONTA_SHOWS)
    address: str | None = Field(description=AS_MONTA_SHOWS)
    started_at: Moment
    ended_at: Moment
    energy_wh: int
    currency: str
    amount_gross: int = Field(description="what was settled to be captured")
    amount_net: int | None = Field(description="null when the tariff names no single rate")
    amount_tax: int | None
    tax_rate: float | None = Field(description="in percent")
    amount_captured: int = Field(description="by the PSP's reports")


class CurrencyTotalOut(BaseModel):
    currency: str
    charges: int
    energy_wh: int
    amount_gross: int
    amount_net: int
    amount_tax: int
    amount_untaxed: int = Field(description="gross amounts of charges whose tax is not known")
    amount_captured: int


class ChargesOut(BaseModel):
    month: str
    as_of: Moment
    totals: list[CurrencyTotalOut] = Field(description="`gross = net + tax + untaxed`")
    data: list[BilledChargeOut] = Field(description="the oldest first")


def charges_out(found: MonthOfCharges) -> ChargesOut:
    """Returns the month as its body."""
    return ChargesOut(
        month=f"{found.month:%Y-%m}",
        as_of=found.as_of,
        totals=[
            CurrencyTotalOut(
                currency=t.currency,
                charges=t.charges,
                energy_wh=t.energy_wh,
                amount_gross=t.gross_minor,
                amount_net=t.net_minor,
                amount_tax=t.tax_minor,
                amount_untaxed=t.untaxed_minor,
                amount_captured=t.captured_minor,
            )
            for t in found.totals
        ],
        data=[_charge_out(each) for each in found.charges],
    )


def _charge_out(each: BilledCharge) -> BilledChargeOut:
    session, place = each.session, each.place
    return BilledChargeOut(
        operator_id=session.operator_id,
        session_id=session.id,
        charge_id=session.charge.id if session.charge else None,
        display_reference=session.display_reference,
        terminal_id=session.terminal_id,
        charge_point_id=session.charge_point_id,
        charge_point_name=place.name,
        evse_id=place.evse_id,
        site_id=place.site_id,
        address=place.address,
        started_at=each.started_at,
        ended_at=each.ended_at,
        energy_wh=each.energy_wh,
        currency=each.currency,
        amount_gross=each.gross_minor,
        amount_net=each.net_minor,
        amount_tax=each.tax_minor,
        tax_rate=_number(each.tax_rate),
        amount_captured=each.captured_minor,
    )


def _number(rate: Decimal | None) -> float | None:
    return None if rate is None else float(rate)
