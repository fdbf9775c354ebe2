"""Records our calls to Monta: the intent before, the outcome after."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

from app.domain.charging.charge import ChargeReport
from app.domain.charging.orphan import has_our_form
from app.domain.limit.policy import Policy, backoff_s, duplicate_pause_s, stop_pause_s
from app.domain.session.attention import AttentionCode
from app.domain.session.late_facts import rechecked, rises
from app.domain.session.limit import bound_of, start_limits, stop_plan
from app.domain.session.machine import Change, Command, Source
from app.domain.session.payment_session import (
    DuplicateCharge,
    Lost,
    PaymentSession,
    Reads,
    StartOutcome,
    Stop,
    StopReason,
)
from app.domain.session.reports import apply_report, duplicate_charge, one_search_until
from app.domain.session.states.journal import JournalKind
from app.domain.session.states.phases import phase_of
from app.domain.session.stuck_session import NOT_FOUND, counted, is_gone, refused
from app.domain.units.frozen import replace
from app.domain.units.ids import ChargeId

API = Source.MONTA_API
WATCHER = Source.WATCHER


def start_intended(change: Change, now: datetime, policy: Policy) -> Change:
    """Records the intent of a start. From here on a charge may exist until a certain answer or a search."""
    phase, change = phase_of(change.session, policy, now), _with_limits(change, policy)
    start = change.session.start
    start = replace(
        start,
        outcome=StartOutcome.UNKNOWN,
        posts=start.posts + 1,
        intent_at=now,
        retry_at=None,
        searches=0,
        searched_at=None,
    )
    return change.to(replace(change.session, start=start)).note(
        JournalKind.START_INTENDED, WATCHER, phase=phase, post=start.posts, **_limits_told(change.session)
    )


def _with_limits(change: Change, policy: Policy) -> Change:
    """Sets the limits sent to Monta. Decided once, since they cannot change after the start."""
    session = change.session
    if session.monta_limits is not None:
        return change
    found = start_limits(session, policy)
    return change.to(replace(session, monta_limits=found))


def _limits_told(session: PaymentSession) -> dict[str, str | int | bool | None]:
    """Returns the limits for Monta and their basis, for the journal. Also what is not known."""
    limits, learned = session.monta_limits, session.learned_kwh_price
    detail: dict[str, str | int | bool | None] = {
        "price_limit": _text(limits.price_limit if limits else None),
        "kwh_limit": _text(limits.kwh_limit if limits else None),
        "tariff": session.tariff_source,
    }
    if session.soc_limit is not None:
        detail["soc_limit"] = session.soc_limit
    if session.monta_limits is not None and session.monta_limits.idle_fee_reserve_minor:
        detail["idle_fee_reserve_minor"] = session.monta_limits.idle_fee_reserve_minor
    if session.tariff_gaps:
        detail["tariff_gaps"] = "; ".join(session.tariff_gaps)
    if limits is not None and limits.price_limit is None and limits.kwh_limit is None:
        detail["guarded_by"] = "our watcher alone"
    if session.tariff is None:
        detail |= {"guarded_by": "Monta's price limit alone", "learned_kwh_price": _text(learned)}
    return detail


def _text(number: Decimal | None) -> str | None:
    return None if number is None else str(number)


def start_accepted(change: Change, report: ChargeReport, policy: Policy) -> Change:
    """Adopts the charge of a start's answer. This POST may still have made a second one.

    A webhook would report a second charge, so one search follows unless a webhook comes first (see `reports`).
    """
    certain = change.session.start.posts == 1
    change = change.note(JournalKind.START_ACCEPTED, API, charge_id=report.id, state=report.state)
    if report.charge_point_id not in (None, change.session.charge_point_id):
        return _started_elsewhere(change, report, policy)
    if not has_our_form(report.partner_external_id):
        report = replace(report, partner_external_id=change.session.id)
    change = apply_report(change, report, API, policy)
    session = change.session
    if certain and session.charge is not None and session.charge.id == report.id and not session.ended:
        session = replace(session, watch_until=one_search_until(session, policy))
    return change.to(session)


def _started_elsewhere(change: Change, report: ChargeReport, policy: Policy) -> Change:
    """Handles an answer with another charge point than requested. The charge is stopped and not billed."""
    change = duplicate_charge(change, report, API, policy)
    if change.session.charge is not None or change.session.ended:
        return change
    return start_refused(change, f"Monta started charge point {report.charge_point_id} instead")


def start_refused(change: Change, why: str) -> Change:
    """Records a start that Monta certainly refused for good."""
    start = replace(change.session.start, outcome=StartOutcome.REFUSED, refusal=why)
    return change.to(replace(change.session, start=start)).note(JournalKind.START_REFUSED, API, why=why)


def start_not_done(change: Change, why: str, *, retry_at: datetime) -> Change:
    """Records a POST that certainly had no effect. It does not count, and another may follow at `retry_at`."""
    start = change.session.start
    start = replace(
        start,
        outcome=StartOutcome.NOT_DONE,
        posts=start.posts - 1,
        retry_at=retry_at,
        refusal=why,
        not_done=start.not_done + 1,
    )
    return change.to(replace(change.session, start=start)).note(JournalKind.START_NOT_DONE, API, why=why)


def start_unknown(change: Change, why: str, policy: Policy) -> Change:
    """Records an unknown outcome: search for the charge, and watch for duplicates."""
    session = change.session
    start = replace(session.start, ambiguous_at=session.start.intent_at)
    watch = (session.start.intent_at or session.created_at) + timedelta(seconds=policy.duplicate_watch_s)
    session = replace(session, start=start, watch_until=max(session.watch_until or watch, watch))
    return change.to(session).note(JournalKind.START_UNKNOWN, API, why=why)


def search_failed(
    change: Change, why: str, *, now: datetime, not_before: datetime | None, policy: Policy
) -> Change:
    start = replace(change.session.start, searches=change.session.start.searches + 1, searched_at=now)
    failures = change.session.reads.search_failures + 1
    pause = now + timedelta(seconds=backoff_s(failures, policy))
    reads = replace(
        change.session.reads, search_failures=failures, not_before=max(pause, not_before or pause)
    )
    return change.to(replace(change.session, start=start, reads=reads)).note(
        JournalKind.SEARCH_FAILED, API, why=why
    )


def read(change: Change, report: ChargeReport, *, now: datetime, policy: Policy) -> Change:
    """Applies a read of the charge by id at `now`."""
    risen = rises(change.session, report)
    change = apply_report(change, report, API, policy)
    session = change.session
    reads = replace(session.reads, attempted_at=now, failures=0, not_before=None, refused=None)
    if session.charge is not None and session.charge.ended:
        idle = reads.idle_reads + 1 if session.charge.gave_nothing else 0
        reads = replace(reads, polls=reads.polls + 1, idle_reads=idle)
    if session.ended:
        reads = rechecked(reads, report, risen=risen)
        change = change.clear_attention(AttentionCode.RECORD_GONE, API)
    return change.to(replace(change.session, reads=reads))


def sweep_asked(change: Change, now: datetime) -> Change:
    """Records the request for a sweep of the charge."""
    reads = replace(change.session.reads, sweep_asked_at=now)
    return change.to(replace(change.session, reads=reads))


def read_failed(
    change: Change,
    why: str,
    *,
    now: datetime,
    not_before: datetime | None,
    policy: Policy,
    status: int | None = None,
) -> Change:
    """Records a failed read. `status`: that of a certain refusal; None: no certain answer came."""
    reads = refused(change.session.reads, status, now, by_read=True)
    pause = now + timedelta(seconds=backoff_s(reads.failures + 1, policy))
    reads = replace(
        reads, attempted_at=now, failures=reads.failures + 1, not_before=max(pause, not_before or pause)
    )
    if change.session.ended:
        reads = replace(reads, rechecks=reads.rechecks + 1)
    return change.to(replace(change.session, reads=reads)).note(JournalKind.READ_FAILED, API, why=why)


def read_cut_short(change: Change, why: str, *, now: datetime) -> Change:
    """Records a read that was cancelled for a due stop. Not a failure of Monta's."""
    reads = replace(change.session.reads, attempted_at=now)
    return change.to(replace(change.session, reads=reads)).note(JournalKind.READ_CUT_SHORT, API, why=why)


def stop_intended(change: Change, reason: StopReason, *, now: datetime, policy: Policy) -> Change:
    """Records the intent of a stop, first or repeated. The next attempt is scheduled before this one is sent."""
    session, phase = change.session, phase_of(change.session, policy, now)
    stop = session.stop or Stop(reason=reason, decided_at=now)
    if session.stop is None:
        change = change.note(
            JournalKind.STOP_DECIDED, WATCHER, reason=reason, **_why(session, reason, now, policy)
        )
    attempts = stop.attempts + 1
    slow = attempts > policy.stop_attention_attempts
    still = session.reads.still
    pause = stop_pause_s(attempts, attempts if still is None else still.stops + 1, policy)
    if session.lost is Lost.STALLED:
        pause = policy.stop_idle_pause_s
    stop = replace(
        stop,
        attempts=attempts,
        next_at=now + timedelta(seconds=pause),
        confirmed_at=None,
    )
    reads = replace(session.reads, still=still and replace(still, stops=still.stops + 1))
    change = change.apply(Command.STOP, WATCHER)
    change = change.to(replace(change.session, stop=stop, stop_reason=stop.reason, reads=reads))
    change = change.note(
        JournalKind.STOP_INTENDED, WATCHER, phase=phase, attempt=attempts, reason=stop.reason
    )
    if slow:
        why = "Monta does not confirm the stop of the charge"
        change = change.raise_attention(AttentionCode.STOP_UNCONFIRMED, why, WATCHER)
    return change


def _why(
    session: PaymentSession, reason: StopReason, now: datetime, policy: Policy
) -> dict[str, str | int | bool | None]:
    """Returns the basis of a stop at the limit, for the journal. Price, power, age of the reading."""
    charge = session.charge
    if reason is not StopReason.LIMIT_REACHED or charge is None:
        return {}
    plan, bound = stop_plan(session, charge, policy), bound_of(session, charge, policy)
    return {
        "basis": plan.basis,
        "power_bound": bound.basis,
        "power_w": bound.power_w,
        "latency_ms": int(bound.latency_s * 1000),
        "latency_learned": bound.latency_learned,
        "reading_age_ms": int((now - charge.energy_at).total_seconds() * 1000),
        "energy_wh": charge.energy_wh,
    }


def stop_answered(change: Change, report: ChargeReport, policy: Policy) -> Change:
    """Records an accepted stop; 200 means accepted, not stopped."""
    change = change.note(JournalKind.STOP_ACCEPTED, API, charge_id=report.id, state=report.state)
    change = change.to(replace(change.session, reads=_one_answer_more(change.session.reads)))
    return apply_report(change, report, API, policy)


def stop_failed(
    change: Change, why: str, *, now: datetime, not_before: datetime | None, status: int | None = None
) -> Change:
    """Records a failed stop. It may be repeated; a refusal may mean `already stopped`, so the next attempt begins with
    a read. `status`: that of a certain refusal; None: no certain answer came."""
    session = change.session
    stop, reads = session.stop, session.reads
    if status is not None:
        reads = refused(_one_answer_more(reads), status, now, by_read=False)
    if stop is not None and not_before is not None and stop.next_at is not None:
        stop = replace(stop, next_at=max(stop.next_at, not_before))
    change = change.to(replace(session, stop=stop, reads=reads))
    return change.note(JournalKind.STOP_FAILED, API, why=why)


def stop_cut_short(change: Change, why: str) -> Change:
    """Makes an intended stop due at once. It was perhaps not sent; if it was, repeating it does no harm."""
    stop = change.session.stop
    if stop is None or stop.next_at is None or stop.confirmed_at is not None or change.session.ended:
        return change
    change = change.to(replace(change.session, stop=replace(stop, next_at=None)))
    return change.note(JournalKind.STOP_FAILED, WATCHER, why=why)


def _one_answer_more(reads: Reads) -> Reads:
    still = reads.still
    if still is None:
        return reads
    # Stops that had no answer tell nothing of the charge: after an outage the pauses between stops grow anew.
    return replace(reads, still=replace(still, answers=still.answers + 1, stops=still.answers + 1))


def duplicate_stop_intended(change: Change, charge_id: ChargeId, *, now: datetime, policy: Policy) -> Change:
    """Records the intent of a stop of a duplicate charge. After too long a time it is the last one."""

    def again(duplicate: DuplicateCharge) -> DuplicateCharge:
        last = now - duplicate.found_at >= timedelta(seconds=policy.duplicate_stop_for_s)
        pause = timedelta(seconds=duplicate_pause_s(duplicate.attempts + 1, policy))
        over_at = now if last else duplicate.over_at
        return replace(duplicate, attempts=duplicate.attempts + 1, next_at=now + pause, over_at=over_at)

    change = _with_extra(change, charge_id, again)
    change = change.note(JournalKind.DUPLICATE_CHARGE_STOP_INTENDED, WATCHER, charge_id=charge_id)
    if any(
        e.attempts > policy.stop_attention_attempts for e in change.session.duplicates if e.id == charge_id
    ):
        why = f"no stop ends charge {charge_id}, which no session pays for"
        change = change.raise_attention(AttentionCode.DUPLICATE_CHARGE_RUNS, why, WATCHER, about=charge_id)
    return change


def duplicate_stop_answered(change: Change, report: ChargeReport, policy: Policy) -> Change:
    change = change.note(
        JournalKind.DUPLICATE_CHARGE_STOP_ACCEPTED, API, charge_id=report.id, state=report.state
    )
    change = _with_extra(change, report.id, lambda duplicate: replace(duplicate, gives_on=False))
    return apply_report(change, report, API, policy)


def duplicate_stop_failed(
    change: Change,
    charge_id: ChargeId,
    why: str,
    *,
    now: datetime,
    not_before: datetime | None,
    policy: Policy,
    status: int | None = None,
) -> Change:
    """Records a failed stop of a duplicate charge. After repeated 404s it need not be stopped."""

    def failed(duplicate: DuplicateCharge) -> DuplicateCharge:
        missing = counted(duplicate.missing, now) if status == NOT_FOUND else duplicate.missing
        next_at = max(duplicate.next_at or now, not_before or now)
        over_at = now if is_gone(missing, policy, now) else duplicate.over_at
        gives_on = duplicate.gives_on and status is None  # a certain answer: its state is known again
        return replace(duplicate, missing=missing, next_at=next_at, over_at=over_at, gives_on=gives_on)

    change = _with_extra(change, charge_id, failed)
    return change.note(JournalKind.DUPLICATE_CHARGE_STOP_FAILED, API, charge_id=charge_id, why=why)


def _with_extra(
    change: Change, charge_id: ChargeId, edit: Callable[[DuplicateCharge], DuplicateCharge]
) -> Change:
    duplicates = tuple(edit(e) if e.id == charge_id else e for e in change.session.duplicates)
    return change.to(replace(change.session, duplicates=duplicates))
