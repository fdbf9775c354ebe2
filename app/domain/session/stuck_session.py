"""Finds sessions that do not end by themselves. They have lost charges, or need operations."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from app.domain.charging.charge import POWERLESS, Charge, ChargeReport, ChargeState
from app.domain.limit.policy import Policy
from app.domain.session.attention import AttentionCode
from app.domain.session.holds import settle_by
from app.domain.session.machine import Change, Command, Source
from app.domain.session.payment_session import (
    Lost,
    PaymentSession,
    Reads,
    Refusals,
    Standstill,
    StartOutcome,
    Status,
    StopReason,
)
from app.domain.session.plausibility import unbillable
from app.domain.session.states.journal import JournalKind
from app.domain.units.frozen import frozen, replace

NOT_FOUND = 404
PASSING = frozenset({ChargeState.OTHER, ChargeState.PAYING, ChargeState.STOPPING})
"""States that should pass soon with energy on the meter. OTHER stands for every unknown one."""

WORDS = {
    Lost.GONE: "Monta does not know the charge any more; it counts as ended",
    Lost.STALLED: "Monta answers the stops, but nothing of the charge changes; it counts as ended",
    Lost.UNREADABLE: "Monta refuses to show the charge, which has ended",
}


def observed(change: Change, now: datetime, policy: Policy) -> Change:
    """Notes since when, by our clock, the charge has not changed. A stalled one that changes is no longer lost, and
    its next stop is due at once, unless it is stopping by now: stops become rare only while nothing changes."""
    session, charge = change.session, change.session.charge
    if charge is None or session.ended:
        return change
    reads = session.reads
    if reads.still is None or (reads.still.state, reads.still.energy_wh) != (charge.state, charge.energy_wh):
        stop = session.stop
        rare = reads.still is not None and reads.still.stops > policy.stop_attention_attempts
        if (
            rare
            and charge.state is not ChargeState.STOPPING
            and stop is not None
            and stop.next_at is not None
        ):
            session = replace(session, stop=replace(stop, next_at=min(stop.next_at, charge.seen_at)))
        still = Standstill(state=charge.state, energy_wh=charge.energy_wh, since=now)
        reads = replace(reads, still=still)
        if session.lost is Lost.STALLED:
            session = replace(session, lost=None)
    return change.to(replace(session, reads=reads))


def loss_of(session: PaymentSession, charge: Charge, policy: Policy, now: datetime) -> Lost | None:
    """Why the charge must count as ended now. None: Monta may still report its end."""
    reads = session.reads
    if charge.final_read:
        return None
    if _lasted(reads.missing, policy.gone_answers, policy.gone_after_s, now):
        return Lost.GONE
    if charge.ended:
        unreadable = _lasted(reads.refused, policy.unreadable_answers, policy.unreadable_after_s, now)
        return Lost.UNREADABLE if unreadable else None
    at = stalls_at(session, charge, policy)
    return Lost.STALLED if at is not None and now >= at else None


def stalls_at(session: PaymentSession, charge: Charge, policy: Policy) -> datetime | None:
    """When the charge counts as stalled if nothing of it changes. None: too few stops were answered."""
    stop, still = session.stop, session.reads.still
    if stop is None or stop.confirmed_at is not None or still is None or not _shows(still, charge):
        return None
    if still.answers < policy.stalled_answers:
        return None
    return max(still.since, stop.decided_at) + timedelta(seconds=policy.stalled_after_s)


def released_at(session: PaymentSession, charge: Charge, policy: Policy) -> datetime | None:
    """When the hold of a stalled charge is released if it still gave nothing. At once when Monta never showed it as
    begun, and before the hold expires. None: it has not stalled."""
    at = stalls_at(session, charge, policy)
    if at is None or charge.state in POWERLESS:
        return at
    later = at + timedelta(seconds=policy.stalled_release_s - policy.stalled_after_s)
    return max(at, min(later, settle_by(session, policy)))


def counted_lost(change: Change, why: Lost) -> Change:
    """Marks the charge as lost, as if it had ended. The session is settled, or held for operations."""
    session = change.session
    if session.status is not Status.FINISHING:
        reason = session.stop.reason if session.stop else StopReason.VEHICLE_OR_CHARGE_POINT
        change = change.apply(Command.FINISH, Source.WATCHER)
        change = change.to(replace(change.session, stop_reason=reason))
    return change.to(replace(change.session, lost=why)).note(JournalKind.CHARGE_LOST, Source.WATCHER, why=why)


def seen_again(session: PaymentSession, report: ChargeReport, *, by_rest: bool) -> PaymentSession:
    """Clears a loss when a report shows the charge again. The record always, a webhook when it is newer."""
    reads = session.reads
    if not by_rest and (reads.missing is None or report.seen_at <= reads.missing.since):
        return session
    reads = replace(reads, missing=None, refused=None if by_rest else reads.refused)
    ended = Lost.GONE if not by_rest else session.lost
    lost = None if session.lost is ended and session.lost is not Lost.STALLED else session.lost
    return replace(session, reads=reads, lost=lost)


def refused(reads: Reads, status: int | None, now: datetime, *, by_read: bool) -> Reads:
    """Counts a refused answer (`status`; None: no certain answer came, which does not count)."""
    if status is None:
        return reads
    if status == NOT_FOUND:
        reads = replace(reads, missing=counted(reads.missing, now))
    return replace(reads, refused=counted(reads.refused, now)) if by_read else reads


def counted(known: Refusals | None, now: datetime) -> Refusals:
    """Adds one to the count of refusals."""
    return Refusals(count=1, since=now) if known is None else replace(known, count=known.count + 1)


def is_gone(missing: Refusals | None, policy: Policy, now: datetime) -> bool:
    """Whether enough 404 answers over time prove the charge gone."""
    return _lasted(missing, policy.gone_answers, policy.gone_after_s, now)


def odd_since(session: PaymentSession, charge: Charge) -> datetime | None:
    """Returns since when a charge is stuck in a passing state. Only a charge with energy. None: it is not stuck."""
    still = session.reads.still
    if charge.state not in PASSING or not charge.energy_wh or still is None or not _shows(still, charge):
        return None
    return still.since


def freed(change: Change, now: datetime, policy: Policy) -> Change:
    """Frees the charge point once no charge of the session can run.

    Never taken back: a charge that is restarted later is stopped, and may find another session there.
    """
    session = change.session
    if (
        session.charge is None
        or not session.occupies_charge_point
        or not _over(session, session.charge, policy, now)
    ):
        return change
    change = change.to(replace(session, point_free_at=now))
    return change.note(JournalKind.CHARGE_POINT_FREE, Source.WATCHER, state=session.charge.state)


def free_at(session: PaymentSession, policy: Policy) -> datetime | None:
    """When the charge point becomes free if nothing changes; None: nothing is planned."""
    since = session.charge_ended_at
    if not session.occupies_charge_point or since is None:
        return None
    return since + timedelta(seconds=policy.restart_window_s)


def _over(session: PaymentSession, charge: Charge, policy: Policy, now: datetime) -> bool:
    """Whether the charge can no longer restart. It is completed by the record, released from the cable, lost, or
    ended for too long."""
    if session.lost is not None or charge.final_read or charge.state is ChargeState.RELEASED:
        return True
    at = free_at(session, policy)
    return charge.ended and at is not None and now >= at


def _shows(still: Standstill, charge: Charge) -> bool:
    return (still.state, still.energy_wh) == (charge.state, charge.energy_wh)


def _lasted(refusals: Refusals | None, count: int, seconds: float, now: datetime) -> bool:
    if refusals is None or refusals.count < count:
        return False
    return now - refusals.since >= timedelta(seconds=seconds)


START_UNRESOLVED = "it is unknown whether the charge was started, and the start deadline has passed"
STUCK = "the charge has ended, but Monta does not complete it"
EXPIRING = "the hold is about to expire, and the payment session is not settled"


@frozen
class AttentionReason:
    """Why operations should look, in words, and for which cause. `why` None: there is no reason."""

    code: AttentionCode
    why: str | None
    about: str = ""


def attention_reasons(session: PaymentSession, policy: Policy, now: datetime) -> Iterator[AttentionReason]:
    """All codes that are checked here, each time. So each closes as soon as its cause is gone."""
    going = not session.ended
    unknown = session.start.outcome is StartOutcome.UNKNOWN and now >= session.start.deadline
    yield AttentionReason(AttentionCode.START_UNKNOWN, START_UNRESOLVED if going and unknown else None)
    yield AttentionReason(
        AttentionCode.HOLD_EXPIRING, EXPIRING if going and now >= settle_by(session, policy) else None
    )
    yield AttentionReason(AttentionCode.IMPOSSIBLE_READING, _not_believed(session) if going else None)
    lost = session.lost if going else None
    yield AttentionReason(AttentionCode.CHARGE_LOST, WORDS[lost] if lost else None, lost or "")
    charge = session.charge if session.status is Status.FINISHING else None
    if charge is None:
        yield AttentionReason(AttentionCode.FINAL_RECORD_HELD, None)
        yield AttentionReason(AttentionCode.NOT_COMPLETED, None)
        return
    held = unbillable(session, charge, policy) if charge.final_read else None
    final = charge.latest
    shown = f"{final.price or final.claimed_price} {final.currency} {final.energy_wh or final.claimed_wh}"
    yield AttentionReason(AttentionCode.FINAL_RECORD_HELD, held, shown)
    yield AttentionReason(AttentionCode.NOT_COMPLETED, STUCK if _stuck(charge, policy, now) else None)


def with_attention(change: Change, policy: Policy, now: datetime) -> Change:
    """Raises attention for each reason that holds now."""
    for reason in attention_reasons(change.session, policy, now):
        change = change.set_attention(reason.code, reason.why, Source.WATCHER, about=reason.about)
    return change


def _not_believed(session: PaymentSession) -> str | None:
    """Why the running record is not believed. A webhook alone proves nothing, and an ended record has its own code."""
    charge = session.charge
    if charge is None or charge.ended or charge.latest.set_aside_why is None or not charge.latest.from_record:
        return None
    return f"what Monta's record shows of the running charge is not believed: {charge.latest.set_aside_why}"


def _stuck(charge: Charge, policy: Policy, now: datetime) -> bool:
    ended_at = charge.latest.stopped_at
    patience = timedelta(seconds=policy.finishing_attention_s)
    return not charge.final_read and ended_at is not None and now - ended_at >= patience
