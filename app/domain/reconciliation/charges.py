"""Lists a month's charges for the books. With energy, amounts and tax."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from app.domain.charging.charge_point import Place
from app.domain.reconciliation.report import ReconciledSession
from app.domain.session.payment_session import PaymentSession
from app.domain.tariff.tax import tax_split
from app.domain.units.csv_text import csv_text
from app.domain.units.frozen import frozen, replace
from app.domain.units.money import to_major, wh_to_kwh


@frozen(kw_only=True)
class BilledCharge:
    """One settled session whose charge gave energy, or is paid. Amounts in minor units of `currency`.

    `net_minor` and `tax_minor` add up to `gross_minor`, the amount that was settled; all three are of the tariff's
    single rate in percent, or None where it names none. Times have the offset of the session's time zone.
    """

    session: PaymentSession
    place: Place
    started_at: datetime
    ended_at: datetime
    energy_wh: int
    currency: str
    gross_minor: int
    net_minor: int | None
    tax_minor: int | None
    tax_rate: Decimal | None
    captured_minor: int
    """What the PSP captured of it, by its reports."""


@frozen(kw_only=True)
class CurrencyTotal:
    """Sums in minor units; `untaxed_minor`: the gross amount of charges without a known tax."""

    currency: str
    charges: int = 0
    energy_wh: int = 0
    gross_minor: int = 0
    net_minor: int = 0
    tax_minor: int = 0
    untaxed_minor: int = 0
    captured_minor: int = 0


@frozen(kw_only=True)
class MonthOfCharges:
    """A month's charges, the oldest first. By the local day of their authorization, as in the reconciliation."""

    month: date
    """Its first day."""
    as_of: datetime
    charges: tuple[BilledCharge, ...]
    totals: tuple[CurrencyTotal, ...]


def next_month(month: date) -> date:
    """Returns the first day of the month after this one."""
    return (month.replace(day=1) + timedelta(days=31)).replace(day=1)


def utc_window_of_month(month: date) -> tuple[datetime, datetime]:
    """Returns when it is this month anywhere. The first and the last moment."""
    start, end = (datetime.combine(day, time(), UTC) for day in (month, next_month(month)))
    return start - timedelta(hours=14), end + timedelta(hours=12)


def is_of_month(session: PaymentSession, month: date) -> bool:
    """Whether the session was authorized in this month at its place."""
    return session.created_at.astimezone(ZoneInfo(session.time_zone)).date().replace(day=1) == month


def billed_charge(found: ReconciledSession, place: Place) -> BilledCharge | None:
    """Returns the session's charge; None without a settlement, or without energy and payment."""
    session, settlement = found.session, found.session.settlement
    if settlement is None or not (settlement.energy_wh or settlement.to_capture_minor):
        return None
    record = session.charge.latest if session.charge else None
    zone = ZoneInfo(session.time_zone)
    started_at = (record.started_at if record else None) or session.created_at
    ended_at = (record.stopped_at if record else None) or session.charge_ended_at or settlement.decided_at
    shares = tax_split(session.tariff, settlement.to_capture_minor)
    return BilledCharge(
        session=session,
        place=place,
        started_at=started_at.astimezone(zone),
        ended_at=ended_at.astimezone(zone),
        energy_wh=settlement.energy_wh,
        currency=session.authorization.currency,
        gross_minor=settlement.to_capture_minor,
        net_minor=sum(s.net_minor for s in shares) if shares else None,
        tax_minor=sum(s.tax_minor for s in shares) if shares else None,
        tax_rate=shares[0].rate if shares else None,
        captured_minor=found.balance.captured_minor,
    )


def month_of_charges(month: date, found: Iterable[BilledCharge], now: datetime) -> MonthOfCharges:
    """Orders the charges and adds them up by currency."""
    charges = sorted(found, key=lambda c: (c.session.operator_id, c.session.created_at, c.session.id))
    totals: dict[str, CurrencyTotal] = {}
    for each in charges:
        totals[each.currency] = _added(totals.get(each.currency, CurrencyTotal(currency=each.currency)), each)
    return MonthOfCharges(
        month=month,
        as_of=now,
        charges=tuple(charges),
        totals=tuple(totals[currency] for currency in sorted(totals)),
    )


def _added(total: CurrencyTotal, charge: BilledCharge) -> CurrencyTotal:
    return replace(
        total,
        charges=total.charges + 1,
        energy_wh=total.energy_wh + charge.energy_wh,
        gross_minor=total.gross_minor + charge.gross_minor,
        net_minor=total.net_minor + (charge.net_minor or 0),
        tax_minor=total.tax_minor + (charge.tax_minor or 0),
        untaxed_minor=total.untaxed_minor + (charge.gross_minor if charge.net_minor is None else 0),
        captured_minor=total.captured_minor + charge.captured_minor,
    )


CHARGE_COLUMNS = (
    *("operator_id", "session_id", "charge_id", "display_reference", "terminal_id", "charge_point_id"),
    *("charge_point_name", "evse_id", "site_id", "address", "started_at", "ended_at", "energy_kwh"),
    *("currency", "net", "tax", "tax_rate", "gross", "captured"),
)
"""Amounts in major units of `currency`, energy in kWh, the rate in percent: as books have them."""


def charges_csv(month: MonthOfCharges) -> str:
    """Lays out the month as CSV: one row a charge."""
    return csv_text(CHARGE_COLUMNS, map(_row, month.charges))


def _row(charge: BilledCharge) -> tuple[object, ...]:
    session, place = charge.session, charge.place
    amounts = (charge.net_minor, charge.tax_minor)
    net, tax = (None if minor is None else to_major(minor, charge.currency) for minor in amounts)
    return (
        session.operator_id,
        session.id,
        session.charge.id if session.charge else None,
        session.display_reference,
        session.terminal_id,
        session.charge_point_id,
        place.name,
        place.evse_id,
        place.site_id,
        place.address,
        charge.started_at.isoformat(timespec="seconds"),
        charge.ended_at.isoformat(timespec="seconds"),
        wh_to_kwh(charge.energy_wh),
        charge.currency,
        net,
        tax,
        charge.tax_rate,
        to_major(charge.gross_minor, charge.currency),
        to_major(charge.captured_minor, charge.currency),
    )
