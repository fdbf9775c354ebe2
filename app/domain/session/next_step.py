"""Decides a session's next step from its data, policy and time."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TypeAlias

from app.domain.charging.charge import Charge, ChargeState
from app.domain.limit.policy import Policy, duplicate_pause_s, growing_s
from app.domain.session.holds import hold_margin, settle_by, stop_by
from app.domain.session.late_facts import recheck
from app.domain.session.limit import limit_at
from app.domain.session.machine import (
    AskSweep,
    CountLost,
    GiveUp,
    ReadCharge,
    SearchCharges,
    SendStart,
    SendStop,
    Settle,
    SettleUnfinished,
    Step,
    StopDuplicate,
    Wait,
    soonest,
    until_stop,
    when,
)
from app.domain.session.payment_session import (
    NotStartedReason,
    PaymentSession,
    StartOutcome,
    Status,
    Stop,
    StopReason,
)
from app.domain.session.plausibility import last_believed, unbillable
from app.domain.session.settlement import SettlementBasis
from app.domain.session.states.phases import Phase, phase_of, quiet_until_of
from app.domain.session.stuck_session import free_at, loss_of, odd_since, released_at, stalls_at

NextStep: TypeAlias = Callable[[PaymentSession, Policy, datetime], Step]
ChargeStep: TypeAlias = Callable[[PaymentSession, Charge, Policy, datetime], Step]


def _until_a_stop_is_due(session: PaymentSession, charge: Charge, policy: Policy, now: datetime) -> Step:
    """Stops for the earliest due reason, else reads or waits. Reads when a report is overdue."""
    stops = _stop_times(session, charge, policy, now)
    due_stops = sorted((at, reason) for reason, at in stops.items() if at <= now)
    if due_stops:
        return SendStop(due_stops[0][1])
    due, read = _next_read(session, charge, stops, policy)
    return read if due <= now else soonest(Wait(due), until_stop(min(stops.values())))


def stop_due_at(session: PaymentSession, policy: Policy, now: datetime) -> datetime | None:
    """When the first stop of a running charge falls due. None: no charge runs."""
    charge = session.charge
    return None if charge is None else min(_stop_times(session, charge, policy, now).values())


def _stop_again(session: PaymentSession, charge: Charge, policy: Policy, now: datetime) -> Step:
    """Repeats the stop until confirmed, or settles before the hold expires."""
    stop = session.stop
    if stop is None:
        raise ValueError(f"payment session {session.id} has no stop to repeat")
    step = _in_time(_repeat_stop(session, charge, stop, now), session, stop, policy, now)
    if not isinstance(step, Wait):
        return step
    ends = (stalls_at(session, charge, policy), released_at(session, charge, policy))
    return soonest(step, *(Wait(at) for at in ends if at is not None and now < at))


def _stop_restarted(session: PaymentSession, charge: Charge, policy: Policy, now: datetime) -> Step:
    """Stop a charge that runs again after it ended."""
    return SendStop(session.stop_reason or StopReason.VEHICLE_OR_CHARGE_POINT)


def _in_time(step: Step, session: PaymentSession, stop: Stop, policy: Policy, now: datetime) -> Step:
    """Settles a charge that no stop ends before its hold expires. The stop has its time first."""
    grace = min(timedelta(seconds=policy.stop_grace_s), hold_margin(session, policy) / 2)
    last = max(settle_by(session, policy), stop.decided_at + grace)
    if now >= last:
        return SettleUnfinished()
    return soonest(step, until_stop(last)) if isinstance(step, Wait) else step


def _repeat_stop(session: PaymentSession, charge: Charge, stop: Stop, now: datetime) -> Step:
    """Reads before each repeat, so that no confirmed stop is repeated."""
    if stop.next_at is None:
        return SendStop(stop.reason)
    if now < stop.next_at:
        return until_stop(stop.next_at)
    last_read_at = max(charge.seen_at, session.reads.attempted_at or charge.seen_at)
    return SendStop(stop.reason) if last_read_at >= stop.next_at else ReadCharge(charge.id)


def _stop_times(
    session: PaymentSession, charge: Charge, policy: Policy, now: datetime
) -> dict[StopReason, datetime]:
    """When each reason to stop falls due. A reason that cannot arise is left out."""
    times: dict[StopReason, datetime] = {}
    if session.stop_request is not None:
        times[session.stop_request.reason] = session.stop_request.at
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
    """Returns when the first energy is due: the start deadline. A charge that Monta already calls `charging` may take a
    slow meter's first interval longer."""
    if charge.state is not ChargeState.CHARGING or session.stop_request is not None:
        return session.start.deadline
    began = charge.latest.started_at or session.start.intent_at or session.created_at
    return max(
        session.start.deadline,
        began + timedelta(seconds=policy.start_deadline_s * policy.first_energy_factor),
    )


def _next_read(
    session: PaymentSession, charge: Charge, stops: dict[StopReason, datetime], policy: Policy
) -> tuple[datetime, ReadCharge | AskSweep]:
    """Returns when to read next. A sweep's after a long silence, else the session's own, or one before a stop."""
    silent_from = charge.seen_at + timedelta(seconds=policy.silent_after_s)
    overdue_since = session.awaits_sweep_since
    step: ReadCharge | AskSweep = AskSweep(charge.id)
    due = silent_from
    if overdue_since is not None and overdue_since >= silent_from:
        step, due = ReadCharge(charge.id), overdue_since + timedelta(seconds=policy.sweep_patience_s)
    ahead = _read_ahead(session, charge, stops, policy)
    if ahead is not None and ahead < due:
        step, due = ReadCharge(charge.id), ahead
    attempted = session.reads.attempted_at
    if attempted is not None:
        due = max(due, attempted + timedelta(seconds=policy.fresh_s))
    return max(due, session.reads.not_before or due), step


def _read_ahead(
    session: PaymentSession, charge: Charge, stops: dict[StopReason, datetime], policy: Policy
) -> datetime | None:
    """When to read once more before a stop at the limit. None: it was done, or no such stop is near."""
    limit = stops.get(StopReason.LIMIT_REACHED)
    if limit is None:
        return None
    ahead = _last_useful_read(session, charge, limit, policy)
    return ahead if max(charge.seen_at, session.reads.attempted_at or charge.seen_at) < ahead else None


def _last_useful_read(session: PaymentSession, charge: Charge, limit: datetime, policy: Policy) -> datetime:
    """Returns when to read before a stop. Just after the meter's last sample in time, if its interval is known."""
    interval_ms = session.meter_history.interval_ms
    if interval_ms:
        interval_s = interval_ms / 1000
        lag_s = policy.settled_sample_s
        samples = int(((limit - charge.energy_at).total_seconds() - lag_s) // interval_s)
        if samples >= 1:
            return charge.energy_at + timedelta(seconds=samples * interval_s + lag_s)
        return charge.energy_at
    return limit - timedelta(seconds=policy.read_ahead_s + policy.fresh_s)


SEARCH_OFFSETS_S = (2, 5, 10, 20, 40, 60, 80, 100)
"""When to search for a charge after an unknown start, in seconds from the intent. Then at the end of the quiet window
and regularly after it."""
MINUTELY_SEARCHES = 40
"""Number of searches in the first half hour. Later ones follow at growing intervals."""
JUST_SEARCHED = timedelta(seconds=45)
"""An empty search is still fresh for this long: it counts from its request, and the answer may take 20 s."""


def decide(session: PaymentSession, policy: Policy, now: datetime) -> Step:
    """The most urgent thing to do now, or until when to wait. A due search comes before a stop that it may spare."""
    waits: list[Wait] = []
    for step in (
        NEXT[phase_of(session, policy, now)](session, policy, now),
        next_search(session, policy, now),
        _stop_duplicates(session, now),
    ):
        if not isinstance(step, Wait):
            return step
        waits.append(step)
    free = free_at(session, policy)
    return soonest(*waits, Wait(free if free is not None and free > now else None))


def _lost(session: PaymentSession, charge: Charge, policy: Policy, now: datetime) -> Step:
    """Count the charge as ended. Then release when it gave nothing, else settle by what is believed of it."""
    why = loss_of(session, charge, policy, now) if session.lost is None else None
    if why is not None:
        return CountLost(why)
    if charge.gave_nothing:
        return GiveUp(_why_nothing_ran(session, charge))
    return _gone(session, charge, policy, now)


def _send_start(session: PaymentSession, policy: Policy, now: datetime) -> Step:
    return SendStart()


def _back_off(session: PaymentSession, policy: Policy, now: datetime) -> Step:
    """Wait for the retry, at most until the start deadline."""
    deadline = session.start.deadline
    return Wait(min(session.start.retry_at or deadline, deadline))


def _await_deadline(session: PaymentSession, policy: Policy, now: datetime) -> Step:
    """Send no further POST. A report may still bring the charge until the start deadline."""
    return Wait(session.start.deadline)


def _release(session: PaymentSession, policy: Policy, now: datetime) -> Step:
    """Releases the hold. After an ambiguous POST only right after an empty search, so that a late charge is this
    session's and not a duplicate of a released one."""
    start, requested = session.start, session.stop_request is not None
    reason = NotStartedReason.CANCELED if requested else NotStartedReason.START_TIMEOUT
    unresolved = start.ambiguous_at is not None or start.outcome is StartOutcome.UNKNOWN
    if not unresolved or (start.empty_at is not None and now <= start.empty_at + JUST_SEARCHED):
        return GiveUp(reason)
    due = start.searched_at + timedelta(seconds=policy.stop_retry_s) if start.searched_at else now
    return when(SearchCharges(), max(due, session.reads.not_before or due), now)


def _refused(session: PaymentSession, policy: Policy, now: datetime) -> Step:
    """Searches before giving up when a second POST is refused. The first one may have taken effect unnoticed."""
    start = session.start
    intent_at = start.intent_at or session.created_at
    if start.ambiguous_at is None or (start.empty_at is not None and start.empty_at >= intent_at):
        return GiveUp(NotStartedReason.REFUSED)
    due = start.searched_at + timedelta(seconds=policy.stop_retry_s) if start.searched_at else now
    return when(SearchCharges(), max(due, session.reads.not_before or due), now)


def _search(session: PaymentSession, policy: Policy, now: datetime) -> Step:
    """Searches for a charge that an unknown start may have made. Until it is found, or the quiet window has passed."""
    intent_at, quiet_until = session.start.intent_at or session.created_at, quiet_until_of(session, policy)
    searched_at = session.start.searched_at or intent_at
    planned = [
        t for s in SEARCH_OFFSETS_S if searched_at < (t := intent_at + timedelta(seconds=s)) < quiet_until
    ]
    pause = growing_s(2 * policy.duplicate_search_s, session.start.searches - MINUTELY_SEARCHES, policy)
    due = planned[0] if planned else max(quiet_until, searched_at + timedelta(seconds=pause))
    if searched_at < quiet_until <= due:
        due = quiet_until
    return when(SearchCharges(), max(due, session.reads.not_before or due), now)


def _read_final(session: PaymentSession, charge: Charge, policy: Policy, now: datetime) -> Step:
    """`completed`: bill by the record itself, never by a webhook."""
    return when(ReadCharge(charge.id), _final_read_due(session, charge, policy, now), now)


def _final(session: PaymentSession, charge: Charge, policy: Policy, now: datetime) -> Step:
    """Settle by the final record, or release when nothing is to bill. Read it again while it cannot be billed."""
    if _nothing_to_bill(session, charge):
        return GiveUp(_why_nothing_ran(session, charge))
    if unbillable(session, charge, policy) is not None:
        return when(ReadCharge(charge.id), _next_poll(session, policy, now), now)
    return Settle()


def _gone(session: PaymentSession, charge: Charge, policy: Policy, now: datetime) -> Step:
    """Settles without a final record by what is plausible. Holds the session for operations when nothing is."""
    if last_believed(session, charge, policy)[1] is not SettlementBasis.NOTHING_KNOWN:
        return SettleUnfinished()
    due = (session.reads.attempted_at or now) + timedelta(seconds=policy.settle_poll_max_s)
    return when(ReadCharge(charge.id), max(due, session.reads.not_before or due), now)


def _final_read_due(session: PaymentSession, charge: Charge, policy: Policy, now: datetime) -> datetime:
    """At once when a webhook says `completed`. While the record does not agree, as seldom as any other poll."""
    attempted_at, reported_at = session.reads.attempted_at, charge.completed_reported_at
    if reported_at is not None and (attempted_at is None or attempted_at <= reported_at):
        return session.reads.not_before or now
    return _next_poll(session, policy, now)


def _await_final(session: PaymentSession, charge: Charge, policy: Policy, now: datetime) -> Step:
    """Stopped, but not final: read until it is. Without any energy two agreeing reads release the hold."""
    if charge.gave_nothing and session.reads.idle_reads >= policy.idle_reads:
        return GiveUp(_why_nothing_ran(session, charge))
    return when(ReadCharge(charge.id), _final_read_due(session, charge, policy, now), now)


def _next_poll(session: PaymentSession, policy: Policy, now: datetime) -> datetime:
    reads = session.reads
    pause = min(policy.settle_poll_s * 1.5 ** min(reads.polls, 20), policy.settle_poll_max_s)
    due = (reads.attempted_at or now - timedelta(days=1)) + timedelta(seconds=pause)
    return max(due, reads.not_before or due)


def _nothing_to_bill(session: PaymentSession, charge: Charge) -> bool:
    final = charge.latest
    free = final.claimed_price is None and (final.price is None or final.price <= 0)
    return charge.gave_nothing and (free or session.stop is not None or final.failed_at is not None)


def _why_nothing_ran(session: PaymentSession, charge: Charge) -> NotStartedReason:
    if session.stop is not None and session.stop.reason is not StopReason.LATE_START:
        return NotStartedReason.CANCELED
    if session.stop is None and charge.latest.failed_at is not None:
        return NotStartedReason.REFUSED
    return NotStartedReason.START_TIMEOUT


def _stop_duplicates(session: PaymentSession, now: datetime) -> Step:
    """Stops every duplicate charge again and again until it has ended."""
    waits = []
    for duplicate in session.duplicates:
        if not duplicate.live:
            continue
        if duplicate.next_at is None or duplicate.next_at <= now:
            return StopDuplicate(duplicate.id)
        waits.append(until_stop(duplicate.next_at))
    return soonest(*waits)


def next_search(session: PaymentSession, policy: Policy, now: datetime) -> Step:
    """Searches for duplicate charges after an ambiguous POST, or while one runs."""
    live = [e.attempts for e in session.duplicates if e.live]
    last = session.start.searched_at or session.start.intent_at
    if last is None or session.status is Status.AUTHORIZED:
        return Wait(None)
    pause_s = policy.duplicate_search_s if session.lost is None else policy.duplicate_search_live_s
    if live:
        pause_s = min(duplicate_pause_s(min(live), policy), policy.duplicate_search_live_s)
    due = last + timedelta(seconds=pause_s)
    due = max(due, session.reads.not_before or due)
    if not live and (session.watch_until is None or due > session.watch_until):
        return Wait(None)
    return when(SearchCharges(), due, now)


def _before_release(step_of: NextStep) -> NextStep:
    """Resolves an unknown start before the hold expires. Releases it, and watches for duplicate charges."""

    def step(session: PaymentSession, policy: Policy, now: datetime) -> Step:
        found, last = step_of(session, policy, now), settle_by(session, policy)
        match found:
            case GiveUp():
                return found
            case Wait(until) if now < last:
                return Wait(last if until is None else min(until, last))
            case _:
                return found if now < last else GiveUp(NotStartedReason.START_TIMEOUT)

    return step


def _of_charge(step_of: ChargeStep) -> NextStep:
    def step(session: PaymentSession, policy: Policy, now: datetime) -> Step:
        if session.charge is None:
            raise ValueError(f"payment session {session.id} has no charge")
        return step_of(session, session.charge, policy, now)

    return step


def _before_settlement(step_of: ChargeStep) -> NextStep:
    """Settles an ended charge before its hold expires, whatever Monta reports."""

    def step(session: PaymentSession, policy: Policy, now: datetime) -> Step:
        found, last = _of_charge(step_of)(session, policy, now), settle_by(session, policy)
        match found:
            case ReadCharge() | Wait() if now >= last:
                return SettleUnfinished()
            case Wait(until):
                return Wait(last if until is None else min(until, last))
            case _:
                return found

    return step


NEXT: Mapping[Phase, NextStep] = {
    Phase.READY: _before_release(_send_start),
    Phase.BACKOFF: _before_release(_back_off),
    Phase.START_UNKNOWN: _before_release(_search),
    Phase.START_EXHAUSTED: _before_release(_await_deadline),
    Phase.START_REFUSED: _before_release(_refused),
    Phase.RELEASING: _before_release(_release),
    Phase.RUNNING: _of_charge(_until_a_stop_is_due),
    Phase.STOPPING: _of_charge(_stop_again),
    Phase.RESTARTED: _of_charge(_stop_restarted),
    Phase.AWAITING_FINAL: _before_settlement(_await_final),
    Phase.FINAL_UNREAD: _before_settlement(_read_final),
    Phase.FINAL: _before_settlement(_final),
    Phase.LOST: _before_settlement(_lost),
    Phase.ENDED: recheck,
}
"""One function for each phase. `PHASES` says which steps it may return, and why."""
