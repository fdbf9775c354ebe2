"""What can be done next with a payment session: calls to Monta, conclusions, or waiting."""

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from app.domain.ids import ChargeId
from app.domain.payment_session import Lost, NotStartedReason, StopReason


@dataclass(frozen=True, slots=True)
class SendStart:
    """POST /charges, once, guarded."""


@dataclass(frozen=True, slots=True)
class LookUp:
    """Search Monta for charges with our reference."""


@dataclass(frozen=True, slots=True)
class ReadCharge:
    charge_id: ChargeId


@dataclass(frozen=True, slots=True)
class AskSweep:
    """The charge has been silent for long: have it read together with all others of the operator."""

    charge_id: ChargeId


@dataclass(frozen=True, slots=True)
class SendStop:
    reason: StopReason


@dataclass(frozen=True, slots=True)
class StopExtra:
    charge_id: ChargeId


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No charge ran and none will: release the hold."""

    reason: NotStartedReason


@dataclass(frozen=True, slots=True)
class Settle:
    """The final record is known and can be billed."""


@dataclass(frozen=True, slots=True)
class SettleUnfinished:
    """The hold is about to die, and the final record is not there or cannot be believed: settle by what is known."""


@dataclass(frozen=True, slots=True)
class CountLost:
    """Monta never brings the charge to an end: from now on it counts as ended."""

    why: Lost


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing before `until`; None: nothing ever, unless news comes."""

    until: datetime | None


Call: TypeAlias = SendStart | LookUp | ReadCharge | SendStop | StopExtra
Step: TypeAlias = Call | AskSweep | GiveUp | Settle | SettleUnfinished | CountLost | Wait


def when(step: Call, due: datetime, now: datetime) -> Call | Wait:
    """The call if it is due, else the wait for it."""
    return step if due <= now else Wait(due)
