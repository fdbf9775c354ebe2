"""What the terminal shall do with the holds: capture so much, release the rest. Decided once, never changed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class SettlementAction(StrEnum):
    CAPTURE = "capture"
    RELEASE = "release"


class SettlementStatus(StrEnum):
    DUE = "due"
    CONFIRMED = "confirmed"
    FAILED = "failed"


class SettlementBasis(StrEnum):
    """What the amount rests on."""

    FINAL_PRICE = "final_price"
    LAST_PRICE = "last_price"
    """Monta did not complete the charge before the hold would die: the last price that could be believed."""
    TARIFF_MINIMUM = "tariff_minimum"
    """Monta showed no price that could be believed: the least that the tariff makes of the energy."""
    NOTHING_KNOWN = "nothing_known"
    """Neither: released, and a person is told."""
    NOTHING_RAN = "nothing_ran"
    PERSON = "person"
    """Operations decided the amount."""


class CaptureOutcome(StrEnum):
    """What the PSP did."""

    CAPTURED = "captured"
    RELEASED = "released"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldShare:
    """What becomes of one hold, named by its authorization's reference; the two parts are its amount, always."""

    reference: str
    amount_minor: int
    to_capture_minor: int
    to_release_minor: int
    status: SettlementStatus = SettlementStatus.DUE


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
    """The first of the holds is no longer good after this."""
    session_date: datetime
    """The receipt's date."""
    status: SettlementStatus = SettlementStatus.DUE
    basis: SettlementBasis = SettlementBasis.FINAL_PRICE
    shares: tuple[HoldShare, ...] = ()
    """Hold by hold, the first to expire first."""
    asked_at: datetime | None = None
    """When a person was asked to see to it, since nobody had told its outcome."""

    @property
    def ask_at(self) -> datetime:
        """Half of the time that its holds have left is over then: by that time its outcome should be known."""
        return self.decided_at + max(timedelta(), self.deadline - self.decided_at) / 2


class HoldUnknown(ValueError):
    """A report names an authorization that is not of this payment session."""


def settle(
    authorized_minor: int,
    price_minor: int,
    *,
    energy_wh: int,
    at: datetime,
    deadline: datetime,
    session_date: datetime,
    basis: SettlementBasis = SettlementBasis.FINAL_PRICE,
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
        basis=basis,
    )
