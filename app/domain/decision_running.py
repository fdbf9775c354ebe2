"""What to do next while energy flows, or may flow: stop in time, repeat the stop, read when it is silent."""

from datetime import datetime, timedelta

from app.domain.charge import Charge, ChargeState
from app.domain.holds import hold_margin, settle_by, stop_by
from app.domain.limit_watch import limit_at
from app.domain.lost_charge import odd_since
from app.domain.payment_session import PaymentSession, Status, Stop, StopReason
from app.domain.policy import Policy
from app.domain.steps import AskSweep, ReadCharge, SendStop, SettleUnfinished, Step, Wait


def running(session: PaymentSession, charge: Charge, policy: Policy, now: datetime) -> Step:
    if session.stop is not None and session.stop.confirmed_at is None:
        return _in_time(_repeat_stop(session, charge, session.stop, now), session, session.stop, policy, now)
    if session.status is Status.FINISHING:
        return SendStop(session.stop_reason or StopReason.VEHICLE_OR_CHARGE_POINT)
    stops = _stop_times(session, charge, policy, now)
    due_stops = sorted((at, reason) for reason, at in stops.items() if at <= now)
    if due_stops:
        return SendStop(due_stops[0][1])
    due, read = _next_read(session, charge, stops, policy)
    return read if due <= now else Wait(min((due, *stops.values())))


def _in_time(step: Step, session: PaymentSession, stop: Stop, policy: Policy, now: datetime) -> Step:
    """A charge that no stop ends is settled by what is known before its hold dies; the stop has its time first."""
    grace = min(timedelta(seconds=policy.stop_grace_s), hold_margin(session, policy) / 2)
    last = max(settle_by(session, policy), stop.decided_at + grace)
    if now >= last:
        return SettleUnfinished()
    return Wait(last if step.until is None else min(step.until, last)) if isinstance(step, Wait) else step


def _repeat_stop(session: PaymentSession, charge: Charge, stop: Stop, now: datetime) -> Step:
    """Each repeat begins with a read, so that a stop that worked is not sent again."""
    if stop.next_at is None:
        return SendStop(stop.reason)
    if now < stop.next_at:
        return Wait(stop.next_at)
    looked = max(charge.seen_at, session.reads.attempted_at or charge.seen_at)
    return SendStop(stop.reason) if looked >= stop.next_at else ReadCharge(charge.id)


def _stop_times(
    session: PaymentSession, charge: Charge, policy: Policy, now: datetime
) -> dict[StopReason, datetime]:
    """When each reason to stop falls due; a reason that cannot arise is left out."""
    times: dict[StopReason, datetime] = {}
    if session.wish is not None:
        times[session.wish.reason] = session.wish.at
    if charge.gave_nothing:
        times[StopReason.LATE_START] = _first_energy_due(session, charge, policy)
    odd = odd_since(session, charge)
    if odd is not None:
        times[StopReason.VEHICLE_OR_CHARGE_POINT] = odd + timedelta(seconds=policy.odd_state_s)
    times[StopReason.HOLD_EXPIRING] = stop_by(session, policy)
    limit = limit_at(session, charge, policy, now)
    if limit is not None:
        times[StopReason.LIMIT_REACHED] = limit
    return times


def _first_energy_due(session: PaymentSession, charge: Charge, policy: Policy) -> datetime:
    """The start deadline; a charge that Monta already calls `charging` may take a slow
    meter's first interval longer."""
    if charge.state is not ChargeState.CHARGING or session.wish is not None:
        return session.start.deadline
    began = charge.latest.started_at or session.start.intent_at or session.created_at
    return max(
        session.start.deadline,
        began + timedelta(seconds=policy.start_deadline_s * policy.first_energy_factor),
    )


def _next_read(
    session: PaymentSession, charge: Charge, stops: dict[StopReason, datetime], policy: Policy
) -> tuple[datetime, ReadCharge | AskSweep]:
    """Silence that has lasted too long is the sweep's business, and the session's own when none brings news; a stop
    that only an old reading asks for is worth a read of its own."""
    silent_from = charge.seen_at + timedelta(seconds=policy.silent_after_s)
    asked_at = session.awaits_sweep_since
    step: ReadCharge | AskSweep = AskSweep(charge.id)
    due = silent_from
    if asked_at is not None and asked_at >= silent_from:
        step, due = ReadCharge(charge.id), asked_at + timedelta(seconds=policy.sweep_patience_s)
    ahead = _look_ahead(session, charge, stops, policy)
    if ahead is not None and ahead < due:
        step, due = ReadCharge(charge.id), ahead
    attempted = session.reads.attempted_at
    if attempted is not None:
        due = max(due, attempted + timedelta(seconds=policy.fresh_s))
    return max(due, session.reads.not_before or due), step


def _look_ahead(
    session: PaymentSession, charge: Charge, stops: dict[StopReason, datetime], policy: Policy
) -> datetime | None:
    """When to look once more before a stop at the limit; None: it was done, or no such stop is in sight."""
    limit = stops.get(StopReason.LIMIT_REACHED)
    if limit is None:
        return None
    ahead = _last_look(session, charge, limit, policy)
    return ahead if max(charge.seen_at, session.reads.attempted_at or charge.seen_at) < ahead else None


def _last_look(session: PaymentSession, charge: Charge, limit: datetime, policy: Policy) -> datetime:
    """The moment before the stop at which a look is worth most: just after the last sample of the meter that will be
    there in time; with a meter that is not understood, just before the stop."""
    interval_ms = session.trail.interval_ms
    if interval_ms:
        interval_s = interval_ms / 1000
        lag_s = policy.settled_sample_s
        samples = int(((limit - charge.energy_at).total_seconds() - lag_s) // interval_s)
        if samples >= 1:
            return charge.energy_at + timedelta(seconds=samples * interval_s + lag_s)
        return charge.energy_at
    return limit - timedelta(seconds=policy.read_ahead_s + policy.fresh_s)
