"""Splits a session's authorized money: captured, released or still open."""

from collections.abc import Iterable
from datetime import datetime

from app.domain.charging.charge import ChargeReport
from app.domain.session.payment_session import PaymentSession
from app.domain.session.settlement import CaptureOutcome, SettlementAction, SettlementStatus
from app.domain.units.frozen import frozen
from app.domain.units.money import Rounding, to_minor


@frozen(kw_only=True)
class PspReport:
    """One act of the PSP as the terminal reported it: `amount_minor` in minor units."""

    outcome: CaptureOutcome
    amount_minor: int
    reported_at: datetime
    reference: str = ""
    """The PSP's own."""


@frozen(kw_only=True)
class Balance:
    """Amounts in minor units of `currency`; `authorized + above = captured + released + open`, always."""

    currency: str
    authorized_minor: int
    captured_minor: int
    """What the PSP captured, by its reports."""
    released_minor: int
    """What no longer is held: reported, or the rest of a hold whose capture is confirmed."""
    open_minor: int
    """Neither captured nor released yet, as far as is known."""
    above_minor: int
    """What the PSP moved beyond the authorization; 0 when all is well."""
    settled_minor: int | None
    """What we settled to be captured. None: not settled yet."""
    monta_minor: int | None
    """Monta's final price, never below 0. None: no final price, or another currency."""


def balance(session: PaymentSession, reports: Iterable[PspReport]) -> Balance:
    """Adds up a session's money by the given reports."""
    reports = list(reports)
    captured = _sum(reports, CaptureOutcome.CAPTURED)
    authorized = session.authorized_minor
    settlement = session.settlement
    if settlement is not None and settlement.status is SettlementStatus.CONFIRMED:
        # A PSP frees what is left of a hold when it captures, without another report.
        released = max(0, authorized - captured)
    else:
        released = _sum(reports, CaptureOutcome.RELEASED)
    return Balance(
        currency=session.authorization.currency,
        authorized_minor=authorized,
        captured_minor=captured,
        released_minor=released,
        open_minor=max(0, authorized - captured - released),
        above_minor=max(0, captured + released - authorized),
        settled_minor=None if settlement is None else settlement.to_capture_minor,
        monta_minor=monta_price_minor(session),
    )


def final_record(session: PaymentSession) -> ChargeReport | None:
    """Monta's record of the charge, once it was read as completed. None: there is none."""
    charge = session.charge
    if charge is None or not charge.final_read or not charge.latest.from_record:
        return None
    return charge.latest


def record_price_minor(record: ChargeReport, currency: str) -> int | None:
    """Returns the record's price in minor units; None: it has none. Believed or not; below 0 counts as 0, as it is
    settled."""
    price = record.price if record.price is not None else record.claimed_price
    return None if price is None else max(0, to_minor(price, currency, Rounding.HALF_UP))


def monta_price_minor(session: PaymentSession) -> int | None:
    """Monta's final price in the hold's minor units. None: no final price, or another currency."""
    record, currency = final_record(session), session.authorization.currency
    if record is None or record.currency not in (None, currency):
        return None
    return record_price_minor(record, currency)


def is_release(session: PaymentSession) -> bool:
    """Whether the session was settled by releasing everything."""
    return session.settlement is not None and session.settlement.action is SettlementAction.RELEASE


def _sum(reports: Iterable[PspReport], outcome: CaptureOutcome) -> int:
    return sum(report.amount_minor for report in reports if report.outcome is outcome)
