"""When a person should look: what the watcher alone cannot bring to an end."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.attention import AttentionCode
from app.domain.charge import Charge
from app.domain.holds import settle_by
from app.domain.lost_charge import WORDS
from app.domain.payment_session import PaymentSession, StartOutcome, Status
from app.domain.plausible import unbillable
from app.domain.policy import Policy

NOBODY_KNOWS = "nobody knows whether the charge was started, and the start deadline has passed"
STUCK = "the charge has ended, but Monta does not complete it"
EXPIRING = "the hold is about to expire, and the payment session is not settled"


@dataclass(frozen=True, slots=True)
class Doubt:
    """For one code why a person should look, in words, and which of its causes it is; `why` None: there is none."""

    code: AttentionCode
    why: str | None
    about: str = ""


def doubts(session: PaymentSession, policy: Policy, now: datetime) -> Iterator[Doubt]:
    """Every code that is looked at here, each time: so each closes as soon as its cause is gone."""
    going = not session.ended
    unknown = session.start.outcome is StartOutcome.UNKNOWN and now >= session.start.deadline
    yield Doubt(AttentionCode.START_UNKNOWN, NOBODY_KNOWS if going and unknown else None)
    yield Doubt(
        AttentionCode.HOLD_EXPIRING, EXPIRING if going and now >= settle_by(session, policy) else None
    )
    yield Doubt(AttentionCode.IMPOSSIBLE_READING, _not_believed(session) if going else None)
    lost = session.lost if going else None
    yield Doubt(AttentionCode.CHARGE_LOST, WORDS[lost] if lost else None, lost or "")
    charge = session.charge if session.status is Status.FINISHING else None
    if charge is None:
        yield Doubt(AttentionCode.FINAL_RECORD_HELD, None)
        yield Doubt(AttentionCode.NOT_COMPLETED, None)
        return
    held = unbillable(session, charge, policy) if charge.final_read else None
    final = charge.latest
    shown = f"{final.price or final.claimed_price} {final.currency} {final.energy_wh or final.claimed_wh}"
    yield Doubt(AttentionCode.FINAL_RECORD_HELD, held, shown)
    yield Doubt(AttentionCode.NOT_COMPLETED, STUCK if _stuck(charge, policy, now) else None)


def _not_believed(session: PaymentSession) -> str | None:
    """A webhook alone proves nothing; an ended charge's record is held for a reason of its own."""
    charge = session.charge
    if charge is None or charge.ended or charge.latest.doubt is None or not charge.latest.from_record:
        return None
    return f"what Monta's record shows of the running charge is not believed: {charge.latest.doubt}"


def _stuck(charge: Charge, policy: Policy, now: datetime) -> bool:
    ended_at = charge.latest.stopped_at
    patience = timedelta(seconds=policy.finishing_alarm_s)
    return not charge.final_read and ended_at is not None and now - ended_at >= patience
