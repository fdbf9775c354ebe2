"""What to do next with a payment session: one pure function of what is known, the policy and the time."""

from datetime import datetime, timedelta

from app.domain.charge import Charge, ChargeState
from app.domain.decision_running import running
from app.domain.holds import settle_by
from app.domain.late_facts import recheck
from app.domain.lost_charge import free_at, loss_of
from app.domain.payment_session import (
    Lost,
    NotStartedReason,
    PaymentSession,
    StartOutcome,
    Status,
    StopReason,
)
from app.domain.plausible import last_believed, unbillable
from app.domain.policy import Policy, extra_pause_s, growing_s
from app.domain.settlement import SettlementBasis
from app.domain.steps import (
    CountLost,
    GiveUp,
    LookUp,
    ReadCharge,
    SendStart,
    Settle,
    SettleUnfinished,
    Step,
    StopExtra,
    Wait,
    when,
)

LOOK_OFFSETS_S = (2, 5, 10, 20, 40, 60, 80, 100)
"""When to look for a charge whose start is in doubt, counted from the intent; then at the end of the quiet window and
regularly after it."""

MINUTELY_LOOKS = 40
"""So many looks are made in the first half hour; then they grow rare."""

JUST_LOOKED = timedelta(seconds=45)
"""A look counts from the moment of asking, and its answer may take 20 s."""


def decide(session: PaymentSession, policy: Policy, now: datetime) -> Step:
    """The most urgent thing to do now, or until when to wait; a due search comes before a stop that it may spare."""
    waits: list[datetime] = []
    for step in (_own(session, policy, now), _strays(session, policy, now), _extras(session, now)):
        if not isinstance(step, Wait):
            return step
        if step.until is not None:
            waits.append(step.until)
    free = free_at(session, policy)
    if free is not None and free > now:
        waits.append(free)
    return Wait(min(waits) if waits else None)


def _own(session: PaymentSession, policy: Policy, now: datetime) -> Step:
    if session.ended:
        return recheck(session, policy, now)
    charge = session.charge
    if charge is not None:
        return _with_charge(session, charge, policy, now)
    return _by_the_holds_end(_start(session, policy, now), session, policy, now)


def _with_charge(session: PaymentSession, charge: Charge, policy: Policy, now: datetime) -> Step:
    if session.lost is None and (lost := loss_of(session, charge, policy, now)) is not None:
        return CountLost(lost)
    if session.lost is not None and charge.gave_nothing:
        return GiveUp(_why_nothing_ran(session, charge))
    if session.lost is Lost.GONE:
        return _in_time(_gone(session, charge, policy, now), session, policy, now)
    if charge.state is ChargeState.COMPLETED:
        return _in_time(_final(session, charge, policy, now), session, policy, now)
    if charge.ended:
        return _in_time(_finishing(session, charge, policy, now), session, policy, now)
    return running(session, charge, policy, now)


def _by_the_holds_end(step: Step, session: PaymentSession, policy: Policy, now: datetime) -> Step:
    """No doubt about a start outlives the hold: it is released before it dies, and strays are watched for."""
    last = settle_by(session, policy)
    match step:
        case GiveUp():
            return step
        case Wait(until) if now < last:
            return Wait(last if until is None else min(until, last))
        case _:
            return step if now < last else GiveUp(NotStartedReason.START_TIMEOUT)


def _start(session: PaymentSession, policy: Policy, now: datetime) -> Step:
    start = session.start
    if start.outcome is StartOutcome.REFUSED:
        return _refused(session, policy, now)
    if start.outcome is StartOutcome.UNKNOWN:
        intent_at = start.intent_at or session.created_at
        quiet_until = quiet_until_of(session, policy)
        if start.empty_at is None or start.empty_at < quiet_until:
            return _look(session, intent_at, quiet_until, policy, now)
        spent = start.posts >= policy.max_ambiguous_posts or start.elsewhere
        if spent and now < start.deadline and session.wish is None:
            return Wait(start.deadline)
    if session.wish is not None:
        return _release(session, NotStartedReason.CANCELED, policy, now)
    if now >= start.deadline:
        return _release(session, NotStartedReason.START_TIMEOUT, policy, now)
    if start.retry_at is not None and now < start.retry_at:
        return Wait(min(start.retry_at, start.deadline))
    return SendStart()


def quiet_until_of(session: PaymentSession, policy: Policy) -> datetime:
    """Until when no second POST may be sent: counted from the last moment at which the first may have left."""
    intent_at = session.start.intent_at or session.created_at
    return intent_at + timedelta(seconds=policy.send_guard_s + policy.quiet_window_s)


def _release(session: PaymentSession, reason: NotStartedReason, policy: Policy, now: datetime) -> Step:
    """Where a POST was ambiguous, only right after a look that found nothing: an effect that came late is then this
    session's charge, and not a stray of one that was released."""
    start = session.start
    in_doubt = start.ambiguous_at is not None or start.outcome is StartOutcome.UNKNOWN
    if not in_doubt or (start.empty_at is not None and now <= start.empty_at + JUST_LOOKED):
        return GiveUp(reason)
    due = start.looked_at + timedelta(seconds=policy.stop_retry_s) if start.looked_at else now
    return when(LookUp(), max(due, session.reads.not_before or due), now)


def _refused(session: PaymentSession, policy: Policy, now: datetime) -> Step:
    """A second POST may be refused because the first one, of which nobody knew, took effect: look before giving up."""
    start = session.start
    intent_at = start.intent_at or session.created_at
    if start.ambiguous_at is None or (start.empty_at is not None and start.empty_at >= intent_at):
        return GiveUp(NotStartedReason.REFUSED)
    due = start.looked_at + timedelta(seconds=policy.stop_retry_s) if start.looked_at else now
    return when(LookUp(), max(due, session.reads.not_before or due), now)


def _look(
    session: PaymentSession, intent_at: datetime, quiet_until: datetime, policy: Policy, now: datetime
) -> Step:
    """A charge may exist: look for it until it turns up, or until the quiet window has passed and it is not there."""
    looked_at = session.start.looked_at or intent_at
    planned = [t for s in LOOK_OFFSETS_S if looked_at < (t := intent_at + timedelta(seconds=s)) < quiet_until]
    pause = growing_s(2 * policy.stray_look_s, session.start.looks - MINUTELY_LOOKS, policy)
    due = planned[0] if planned else max(quiet_until, looked_at + timedelta(seconds=pause))
    if looked_at < quiet_until <= due:
        due = quiet_until
    return when(LookUp(), max(due, session.reads.not_before or due), now)


def _final(session: PaymentSession, charge: Charge, policy: Policy, now: datetime) -> Step:
    """`completed`: bill by the record itself, never by a webhook."""
    if not charge.final_read:
        return when(ReadCharge(charge.id), _final_read_due(session, charge, policy, now), now)
    if _nothing_to_bill(session, charge):
        return GiveUp(_why_nothing_ran(session, charge))
    if unbillable(session, charge, policy) is not None:
        return when(ReadCharge(charge.id), _next_poll(session, policy, now), now)
    return Settle()


def _gone(session: PaymentSession, charge: Charge, policy: Policy, now: datetime) -> Step:
    """No final record will come: settled by what can be believed of the charge, held for a person when nothing can."""
    if last_believed(session, charge, policy)[1] is not SettlementBasis.NOTHING_KNOWN:
        return SettleUnfinished()
    due = (session.reads.attempted_at or now) + timedelta(seconds=policy.settle_poll_max_s)
    return when(ReadCharge(charge.id), max(due, session.reads.not_before or due), now)


def _in_time(step: Step, session: PaymentSession, policy: Policy, now: datetime) -> Step:
    """An ended charge is settled before its hold dies, whatever Monta does or does not say by then."""
    last = settle_by(session, policy)
    match step:
        case ReadCharge() if now >= last:
            return SettleUnfinished()
        case Wait(until):
            return SettleUnfinished() if now >= last else Wait(last if until is None else min(until, last))
        case _:
            return step


def _final_read_due(session: PaymentSession, charge: Charge, policy: Policy, now: datetime) -> datetime:
    """At once when a webhook says `completed`; while the record does not agree, as seldom as any other poll."""
    attempted_at, told_at = session.reads.attempted_at, charge.told_completed_at
    if told_at is not None and (attempted_at is None or attempted_at <= told_at):
        return session.reads.not_before or now
    return _next_poll(session, policy, now)


def _finishing(session: PaymentSession, charge: Charge, policy: Policy, now: datetime) -> Step:
    """Stopped, but not final: read until it is; without any energy two agreeing reads release the hold."""
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
    return charge.gave_nothing and (free or _given_up(session, charge))


def _given_up(session: PaymentSession, charge: Charge) -> bool:
    return session.stop is not None or charge.latest.failed_at is not None


def _why_nothing_ran(session: PaymentSession, charge: Charge) -> NotStartedReason:
    if session.stop is not None and session.stop.reason is not StopReason.LATE_START:
        return NotStartedReason.CANCELED
    if session.stop is None and charge.latest.failed_at is not None:
        return NotStartedReason.REFUSED
    return NotStartedReason.START_TIMEOUT


def _extras(session: PaymentSession, now: datetime) -> Step:
    """Every charge of ours that nobody pays for is stopped, again and again until it has ended."""
    waits = []
    for extra in session.extras:
        if not extra.live:
            continue
        if extra.next_at is None or extra.next_at <= now:
            return StopExtra(extra.id)
        waits.append(extra.next_at)
    return Wait(min(waits) if waits else None)


def _strays(session: PaymentSession, policy: Policy, now: datetime) -> Step:
    """After an ambiguous POST, or while an extra charge runs, search for charges of ours that nobody asked for."""
    live = [e.attempts for e in session.extras if e.live]
    last = session.start.looked_at or session.start.intent_at
    if last is None or session.status is Status.AUTHORIZED:
        return Wait(None)
    pause_s = policy.stray_look_s if session.lost is None else policy.stray_look_live_s
    if live:
        pause_s = min(extra_pause_s(min(live), policy), policy.stray_look_live_s)
    due = last + timedelta(seconds=pause_s)
    due = max(due, session.reads.not_before or due)
    if not live and (session.watch_until is None or due > session.watch_until):
        return Wait(None)
    return when(LookUp(), due, now)
