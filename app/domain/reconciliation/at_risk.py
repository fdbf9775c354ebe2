"""What is at stake in one attention item."""

from app.domain.reconciliation.balance import monta_price_minor
from app.domain.session.attention import Attention
from app.domain.session.attention import AttentionCode as C
from app.domain.session.payment_session import PaymentSession

NO_AMOUNT = frozenset({C.FOREIGN_CHARGE, C.RECORD_GONE, C.REPORTED_LATE, C.PRICE_ABOVE_TARIFF})
"""Codes in which nothing is lost by what is known: a price above the tariff is billed."""
UNKNOWN_AMOUNT = frozenset({C.DUPLICATE_CHARGE, C.DUPLICATE_CHARGE_RUNS, C.RAN_ON, C.SEAL_DOES_NOT_FIT})
"""Energy that no hold pays for has no price here; of a rewritten session no amount is to be believed."""
DECIDED = frozenset({C.CAPTURE_DIFFERS, C.CAPTURE_OVERDUE, C.SETTLED_LATE, C.SETTLED_UNFINISHED})
"""Codes about what was settled to be captured."""


def at_risk_minor(session: PaymentSession, item: Attention) -> int | None:
    """Returns the amount at risk if operations do nothing. In minor units. None: an amount is not known.

    Before the settlement it is Monta's price as far as it is known, else the whole authorization.
    """
    settlement = session.settlement
    if item.code in NO_AMOUNT:
        return 0
    if item.code in UNKNOWN_AMOUNT:
        return None
    if settlement is None:
        known = monta_price_minor(session)
        return session.authorized_minor if known is None else min(known, session.authorized_minor)
    if item.code == C.SHORTFALL:
        return settlement.shortfall_minor
    if item.code == C.CAPTURE_FAILED:
        return max(0, settlement.to_capture_minor - settlement.captured_minor)
    if item.code in DECIDED:
        return settlement.to_capture_minor
    known = monta_price_minor(session)
    return None if known is None else abs(known - settlement.to_capture_minor - settlement.shortfall_minor)
