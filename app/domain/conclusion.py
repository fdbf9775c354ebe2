"""How a payment session ends: settled by Monta's final record, or given up because nothing ran."""

from dataclasses import replace
from datetime import datetime, timedelta

from app.domain.change import Change, Source
from app.domain.charge import Charge, ChargeState
from app.domain.money import Rounding, to_minor
from app.domain.payment_session import NotStartedReason, PaymentSession, StartOutcome
from app.domain.policy import Policy
from app.domain.settlement import Settlement, settle
from app.domain.shortfall import cause_of_shortfall
from app.domain.transitions import Command

WATCHER = Source.WATCHER


def settled(change: Change, now: datetime, policy: Policy) -> Change:
    """Bill Monta's final price, never above the reservation. The charge's final record must be billable."""
    session = change.session
    charge = session.charge
    if charge is None or charge.latest.price is None:
        raise ValueError(f"payment session {session.id} has no final price to settle by")
    price_minor = to_minor(charge.latest.price, session.authorization.currency, Rounding.HALF_UP)
    settlement = settle(
        session.authorization.amount_minor,
        price_minor,
        energy_wh=_final_energy_wh(charge),
        at=now,
        deadline=hold_deadline(session, policy),
        session_date=charge.latest.started_at or session.created_at,
    )
    change = change.obey(Command.COMPLETE, WATCHER)
    change = _with_settlement(change, settlement)
    if settlement.shortfall_minor:
        change = change.note("shortfall", WATCHER, cause=cause_of_shortfall(session))
        change = change.alarm(
            f"the charge cost {settlement.shortfall_minor} minor units more than was reserved", WATCHER
        )
    return change


def given_up(change: Change, reason: NotStartedReason, now: datetime, policy: Policy) -> Change:
    """Release the whole hold. A charge that might still run or turn up is watched for, and stopped, for a while."""
    session = change.session
    settlement = settle(
        session.authorization.amount_minor,
        0,
        energy_wh=0,
        at=now,
        deadline=hold_deadline(session, policy),
        session_date=session.created_at,
    )
    watch_until = session.watch_until
    doubtful = session.start.outcome is StartOutcome.UNKNOWN
    unfinished = session.charge is not None and session.charge.state is not ChargeState.COMPLETED
    if doubtful or unfinished:
        until = now + timedelta(seconds=policy.stray_watch_s)
        watch_until = max(watch_until or until, until)
    change = change.obey(Command.GIVE_UP, WATCHER)
    change = change.to(
        replace(change.session, not_started_reason=reason, stop_reason=None, watch_until=watch_until)
    )
    return _with_settlement(change, settlement)


def hold_deadline(session: PaymentSession, policy: Policy) -> datetime:
    """When the hold is no longer good: what the terminal said, else the usual validity of a pre-authorization."""
    held = session.authorization
    return held.expires_at or (held.authorized_at or session.created_at) + timedelta(days=policy.hold_days)


def _final_energy_wh(charge: Charge) -> int:
    final = charge.latest.energy_wh
    return charge.energy_wh if final is None else final


def _with_settlement(change: Change, settlement: Settlement) -> Change:
    change = change.to(replace(change.session, settlement=settlement))
    return change.note(
        "settlement_decided",
        WATCHER,
        action=settlement.action,
        to_capture_minor=settlement.to_capture_minor,
        to_release_minor=settlement.to_release_minor,
        shortfall_minor=settlement.shortfall_minor,
        energy_wh=settlement.energy_wh,
    )
