"""What the terminal shall do with the hold: capture so much, release the rest. Decided once, never changed."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class SettlementAction(StrEnum):
    CAPTURE = "capture"
    RELEASE = "release"


class SettlementStatus(StrEnum):
    DUE = "due"
    CONFIRMED = "confirmed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """Amounts in minor units; `to_capture_minor + to_release_minor` is the authorized amount, always."""

    action: SettlementAction
    to_capture_minor: int
    to_release_minor: int
    shortfall_minor: int
    """What the charge cost beyond the authorization: the operator's loss, never the driver's."""
    energy_wh: int
    decided_at: datetime
    deadline: datetime
    """The hold is no longer good after this."""
    session_date: datetime
    """The receipt's date."""
    status: SettlementStatus = SettlementStatus.DUE


def settle(
    authorized_minor: int,
    price_minor: int,
    *,
    energy_wh: int,
    at: datetime,
    deadline: datetime,
    session_date: datetime,
) -> Settlement:
    """Capture the price but never more than was authorized; a price of 0 is a release.

    Raises ValueError for a negative price or authorization: those are held for a person, not settled.
    """
    if price_minor < 0 or authorized_minor < 0:
        raise ValueError("neither a price nor an authorization can be negative")
    capture_minor = min(price_minor, authorized_minor)
    return Settlement(
        action=SettlementAction.CAPTURE if capture_minor else SettlementAction.RELEASE,
        to_capture_minor=capture_minor,
        to_release_minor=authorized_minor - capture_minor,
        shortfall_minor=price_minor - capture_minor,
        energy_wh=energy_wh,
        decided_at=at,
        deadline=deadline,
        session_date=session_date,
    )
