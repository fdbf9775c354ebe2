"""Applies a report or a search result of Monta to a session."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from app.domain.charging.charge import ENDED, Charge, ChargeReport, ChargeState, merge
from app.domain.limit.meter import MeterHistory, with_readings
from app.domain.limit.policy import Policy
from app.domain.session.attention import AttentionCode
from app.domain.session.late_facts import apply_late_webhook, contradicted, flows_on, rises, runs_again
from app.domain.session.limit import compare_price
from app.domain.session.limit_checks import by_montas_limit, compare_limits, currency_compared
from app.domain.session.machine import Change, Command, Source
from app.domain.session.payment_session import (
    DuplicateCharge,
    PaymentSession,
    StartOutcome,
    Status,
    StopReason,
)
from app.domain.session.plausibility import without_impossible
from app.domain.session.states.journal import JournalKind as Kind
from app.domain.session.stuck_session import seen_again
from app.domain.tariff import MeterPoint
from app.domain.tariff.rates import rates_of
from app.domain.units.frozen import frozen, replace

AGREE = timedelta(seconds=2)
"""Tolerance of two clocks that agree: some of Monta's times come without fractions of a second."""
MOST_S = 30 * 86_400
"""A larger difference is a wrong date, not a wrong clock: it is reported and not counted with."""
OLDEST = datetime(2000, 1, 1, tzinfo=UTC)
"""Older dates are cut to this one, so that shifting them never leaves the calendar."""

BEGINNINGS = ("created_at", "started_at")
"""A start in the future is left out: the charge is then taken to have begun when it was requested."""
ENDS = ("stopped_at", "completed_at", "failed_at", "cable_plugged_in_at")
"""An end in the future is cut to the present: that it happened still counts."""


@frozen
class Believed:
    """A report in our own time. `odd` names the times that are impossible as Monta gives them."""

    report: ChargeReport
    odd: tuple[str, ...]


def clock_difference_s(session: PaymentSession, report: ChargeReport, policy: Policy) -> int:
    """Returns Monta's clock minus ours in seconds, as far as proved. Our charge was created before its payment session,
    or after the answer. 0: nothing is proved."""
    reported = [t for t in (report.created_at, report.updated_at) if t is not None]
    if report.created_at is None:
        return 0
    if max(reported) < session.created_at - AGREE:
        return int((max(reported) - session.created_at).total_seconds())
    answered_by = report.seen_at + timedelta(seconds=policy.answer_s)
    if min(reported) > answered_by + AGREE:
        return int((min(reported) - answered_by).total_seconds())
    return 0


def clock_ahead(session: PaymentSession) -> timedelta:
    """The clock difference to count with; 0 where it cannot be a clock's."""
    ahead_s = session.start.monta_ahead_s
    return timedelta(seconds=ahead_s if abs(ahead_s) <= MOST_S else 0)


def believed(session: PaymentSession, report: ChargeReport, policy: Policy) -> Believed:
    """Shifts a report's times by the clock difference and cuts impossible ones."""
    ahead = clock_ahead(session)
    arrived_at = max(report.arrived_at or report.seen_at, session.created_at)
    seen_at = max(report.seen_at, session.created_at)
    first, last = session.created_at + ahead, arrived_at + timedelta(seconds=policy.answer_s) + ahead
    slack = timedelta(seconds=policy.clock_skew_s)
    changed: dict[str, datetime | None] = {}
    odd: list[str] = []
    for name in (*BEGINNINGS, *ENDS):
        reported: datetime | None = getattr(report, name)
        if reported is None:
            continue
        if not first - slack <= reported <= last + slack:
            odd.append(name)
        left_out = name in BEGINNINGS and reported > last
        changed[name] = None if left_out else min(max(reported, first), last) - ahead
    # Where Monta's clock is known to be slow, its events seem older than they are: their arrival bounds them.
    newest = arrived_at if ahead < timedelta() else seen_at
    updated_at = _updated_at(report, ahead, newest + timedelta(seconds=policy.report_skew_s))
    possible = updated_at if updated_at is not None and updated_at >= session.created_at - slack else None
    as_of = max(min(possible or seen_at, newest), session.created_at)
    changed |= {"updated_at": updated_at, "as_of": as_of, "seen_at": max(seen_at, as_of)}
    return Believed(replace(report, **changed), tuple(odd))  # type: ignore[arg-type]  # fields by name


def _updated_at(report: ChargeReport, ahead: timedelta, latest: datetime) -> datetime | None:
    """For the order of Monta's reports among themselves. Believed, one far ahead of us would make every true report
    after it look old; one from long ago loses against all others by itself."""
    if report.updated_at is None:
        return None
    return min(max(report.updated_at, OLDEST) - ahead, latest)


def apply_report(change: Change, report: ChargeReport, source: Source, policy: Policy) -> Change:
    """Applies one report of a charge that names this session. By our reference or our charge id.

    The first charge of ours is adopted; a report of the adopted one is merged; any other is a duplicate charge that
    will be stopped. A report that cannot be ours is journaled without effect. An impossible energy or price is set
    aside, whatever its source.
    """
    change, report = _in_our_time(change, report, source, policy)
    session = change.session
    if session.charge is not None and report.id == session.charge.id:
        return _merged(change, report, source, policy)
    if (why := _foreign(session, report)) is not None:
        why = f"charge {report.id} carries our reference but {why}; it was left alone"
        return change.raise_attention(AttentionCode.FOREIGN_CHARGE, why, source, about=report.id)
    # Only a restored backup has a charge in Monta's record that was never asked for: it is the one that was paid for.
    started = session.start.posts > 0 or source is Source.MONTA_API
    if session.charge is None and not session.ended and started:
        return _adopted(change, report, source, policy)
    return duplicate_charge(change, report, source, policy)


def apply_search_result(
    change: Change, reports: Iterable[ChargeReport], *, at: datetime, policy: Policy
) -> Change:
    """Applies the complete answer of a search for our reference. Sent at `at`. Adopts the oldest charge."""
    found = sorted(reports, key=lambda r: (r.created_at or r.seen_at, r.id))
    start = replace(change.session.start, searches=change.session.start.searches + 1, searched_at=at)
    if all(_foreign(change.session, r) is not None for r in found):
        start = replace(start, empty_at=at, elsewhere=start.elsewhere or bool(found))
    reads = replace(change.session.reads, search_failures=0)
    change = change.to(replace(change.session, start=start, reads=reads))
    if change.session.status is Status.AUTHORIZED:
        change = change.note(Kind.SEARCHED, Source.MONTA_API, found=len(found))
    for report in found:
        change = apply_report(change, report, Source.MONTA_API, policy)
    return change


def _in_our_time(
    change: Change, report: ChargeReport, source: Source, policy: Policy
) -> tuple[Change, ChargeReport]:
    """Converts a report's times to our clock. The first one of our charge shows how Monta's clock differs; that, and
    each kind of impossible time, is journaled once."""
    session = change.session
    if (session.charge is None or session.charge.id != report.id) and _foreign(session, report) is not None:
        return change, believed(session, report, policy).report
    if session.charge is None and session.start.posts > 0:
        ahead_s = clock_difference_s(session, report, policy)
        if abs(ahead_s) > policy.clock_skew_s and ahead_s != session.start.monta_ahead_s:
            change = change.note(Kind.MONTA_CLOCK_DIFFERS, source, ahead_s=ahead_s, charge_id=report.id)
        change = change.to(replace(session, start=replace(session.start, monta_ahead_s=ahead_s)))
    found = believed(change.session, report, policy)
    new = tuple(name for name in found.odd if name not in change.session.odd_times)
    if new:
        session = replace(change.session, odd_times=(*change.session.odd_times, *new))
        change = change.to(session).note(
            Kind.IMPOSSIBLE_TIME_LEFT_OUT, source, charge_id=report.id, times=", ".join(new)
        )
    return change, found.report


def _foreign(session: PaymentSession, report: ChargeReport) -> str | None:
    """Returns why a reported charge cannot be ours; None: it may be. Never for its times, since that would compare
    Monta's clock with ours."""
    if any(duplicate.id == report.id for duplicate in session.duplicates):
        return None
    if report.partner_external_id not in (None, session.id):
        return "belongs to another payment session"
    if report.charge_point_id not in (None, session.charge_point_id):
        return f"runs at charge point {report.charge_point_id}"
    if report.id in session.taken_charges:
        return "its id is that of another payment session's charge"
    return None


def _adopted(change: Change, report: ChargeReport, source: Source, policy: Policy) -> Change:
    session = change.session
    intent_at = session.start.intent_at or session.created_at
    session = replace(
        session,
        start=replace(session.start, outcome=StartOutcome.ACCEPTED),
        watch_until=_later(session.watch_until, intent_at + timedelta(seconds=policy.duplicate_watch_s)),
    )
    change = change.to(session).note(Kind.CHARGE_ADOPTED, source, charge_id=report.id, state=report.state)
    return _merged(change.apply(Command.ADOPT, source), report, source, policy)


def _merged(change: Change, report: ChargeReport, source: Source, policy: Policy) -> Change:
    by_rest = source is Source.MONTA_API
    session = seen_again(change.session, report, by_rest=by_rest)
    change = change.to(session)
    before = session.charge
    report = without_impossible(session, report, policy)
    change = _set_aside(change, before, report, source)
    known = merge(before, report, by_rest=by_rest)
    change = change.to(
        replace(
            session,
            charge=known,
            charge_ended_at=_ended_at(session, known, report),
            observed_max_w=session.observed_max_w
            if before is None
            else max(session.observed_max_w, _power_w(before, known)),
            meter_history=_meter_history(session, report),
            watch_until=session.watch_until if by_rest else _without_one_search(session, policy),
        )
    )
    change = _reported(change, before, known, report, source)
    if session.ended:
        return _after_the_end(change, session, report, source, policy)
    change = currency_compared(change, known, source)
    change = compare_limits(change, before, known, source)
    change = compare_price(change, before, known, source, policy)
    return _follow(change, source, restarted=before is not None and before.ended and not known.ended)


def _after_the_end(
    change: Change, known: PaymentSession, report: ChargeReport, source: Source, policy: Policy
) -> Change:
    """Applies a report to an ended session. Contradictions are checked, and a running charge is a duplicate. `known`:
    the session before this report."""
    before = known.charge
    change = apply_late_webhook(change, before, report, source)
    if source is Source.MONTA_API and rises(known, report):
        change = contradicted(change, (report.updated_at or report.seen_at).replace(microsecond=0))
    if flows_on(known, report, source):
        return _stopped_again(change, report, source, policy)
    again = before is not None and runs_again(before, report, source)
    ended = change.session.charge is not None and change.session.charge.ended
    forgotten = ended and not again and all(e.id != report.id for e in change.session.duplicates)
    return change if forgotten else duplicate_charge(change, report, source, policy)


def _stopped_again(change: Change, report: ChargeReport, source: Source, policy: Policy) -> Change:
    """Stops a charge that gives energy though its state says ended."""
    change = duplicate_charge(change, report, source, policy)
    duplicates = tuple(
        replace(e, gives_on=True, next_at=None) if e.id == report.id else e for e in change.session.duplicates
    )
    return change.to(replace(change.session, duplicates=duplicates))


def _reported(
    change: Change, before: Charge | None, known: Charge, report: ChargeReport, source: Source
) -> Change:
    """Journals what changed, and a meter that runs backwards. Clears attention that an end resolves."""
    if before is None or (known.latest.state, known.energy_wh) != (before.latest.state, before.energy_wh):
        change = change.note(
            Kind.CHARGE_REPORTED,
            source,
            state=known.state,
            energy_wh=known.energy_wh,
            price=_text(known.latest.price),
        )
    if (
        report.energy_wh is not None
        and before is not None
        and report.energy_wh < before.energy_wh
        and _newer(report, before)
    ):
        change = change.note(
            Kind.METER_RAN_BACKWARDS, source, reported_wh=report.energy_wh, kept_wh=known.energy_wh
        )
    if known.ended:
        change = change.clear_attention(AttentionCode.STOP_UNCONFIRMED, source)
        change = change.clear_attention(AttentionCode.RAN_ON, source)
    return change


def _ended_at(session: PaymentSession, known: Charge, report: ChargeReport) -> datetime | None:
    if not known.ended:
        return None
    return session.charge_ended_at or report.arrived_at or report.seen_at


def _set_aside(change: Change, before: Charge | None, report: ChargeReport, source: Source) -> Change:
    """Journals that a value is not believed, when that begins."""
    if report.set_aside_why is None or (before is not None and before.latest.set_aside_why is not None):
        return change
    return change.note(
        Kind.IMPOSSIBLE_READING_LEFT_OUT,
        source,
        reported_wh=report.claimed_wh,
        reported_price=_text(report.claimed_price),
        why=report.set_aside_why,
    )


def _meter_history(session: PaymentSession, report: ChargeReport) -> MeterHistory:
    """Adds a reading as of the moment that Monta confirms. Not of its arrival; the final record is no reading."""
    if report.energy_wh is None or report.state in ENDED:
        return session.meter_history
    at = report.as_of or report.seen_at
    reading = MeterPoint(at=at, energy_wh=report.energy_wh)
    return with_readings(session.meter_history, [reading], by_the_hour=is_by_the_hour(session))


def is_by_the_hour(session: PaymentSession) -> bool:
    """Whether its meter's history has the points that prices by time of day need."""
    return session.tariff is not None and rates_of(session.tariff).plain_prices is None


def average_w(risen_wh: int, microseconds: int) -> int:
    """The average power while so much energy flowed, in W. 0 in less than a second."""
    seconds = microseconds // 1_000_000
    return risen_wh * 3600 // seconds if seconds >= 1 and risen_wh > 0 else 0


def _power_w(before: Charge, known: Charge) -> int:
    microseconds = (known.energy_at - before.energy_at) // timedelta(microseconds=1)
    return average_w(known.energy_wh - before.energy_wh, microseconds)


def _follow(change: Change, source: Source, *, restarted: bool) -> Change:
    """Brings the status up to what Monta's charge shows."""
    session = change.session
    charge = session.charge
    if charge is None:
        return change
    if session.status is Status.STARTING and _runs(charge):
        change = change.apply(Command.RUN, source)
    if charge.ended and session.status is not Status.FINISHING:
        change = change.apply(Command.FINISH, source)
        reason = _stop_reason(session, charge)
        stop = replace(session.stop, confirmed_at=charge.seen_at) if session.stop else None
        change = change.to(replace(change.session, stop_reason=reason, stop=stop))
    if restarted:
        reads = replace(session.reads, idle_reads=0, polls=0)
        change = change.to(replace(change.session, reads=reads)).note(
            Kind.CHARGE_RESTARTED, source, charge_id=charge.id
        )
    return change


def _stop_reason(session: PaymentSession, charge: Charge) -> StopReason:
    if session.stop is not None:
        return session.stop.reason
    return StopReason.LIMIT_REACHED if by_montas_limit(charge) else StopReason.VEHICLE_OR_CHARGE_POINT


def _runs(charge: Charge) -> bool:
    return not charge.gave_nothing or charge.state is ChargeState.CHARGING


def duplicate_charge(change: Change, report: ChargeReport, source: Source, policy: Policy) -> Change:
    """Records a duplicate charge and keeps watch over it."""
    session = change.session
    known = next((e for e in session.duplicates if e.id == report.id), None)
    if known is None:
        stop = session.stop if session.charge is not None and session.charge.id == report.id else None
        duplicate = DuplicateCharge(
            id=report.id,
            state=report.state,
            found_at=report.seen_at,
            seen_at=report.seen_at,
            attempts=min(stop.attempts, policy.stop_attention_attempts) if stop else 0,
        )
        change = change.note(Kind.DUPLICATE_CHARGE_FOUND, source, charge_id=report.id, state=report.state)
        why = f"duplicate charge {report.id} of this payment session is stopped and never captured"
        change = change.raise_attention(AttentionCode.DUPLICATE_CHARGE, why, source, about=report.id)
    elif report.seen_at >= known.seen_at:
        duplicate = replace(known, state=report.state, seen_at=report.seen_at, missing=None, over_at=None)
    else:
        return change
    if not duplicate.live:
        change = change.clear_attention(AttentionCode.DUPLICATE_CHARGE_RUNS, source, about=report.id)
    others = tuple(e for e in change.session.duplicates if e.id != report.id)
    return change.to(replace(change.session, duplicates=(*others, duplicate)))


def _newer(report: ChargeReport, known: Charge) -> bool:
    return (report.as_of or report.seen_at) > known.energy_at


def one_search_until(session: PaymentSession, policy: Policy) -> datetime:
    """Returns the end of a duplicate watch: one search after the POST."""
    return (session.start.intent_at or session.created_at) + timedelta(seconds=policy.duplicate_search_s)


def _without_one_search(session: PaymentSession, policy: Policy) -> datetime | None:
    """Ends the duplicate watch when webhooks arrive. They would report a second charge, so no search is needed."""
    until = session.watch_until
    spared = not session.ended and until is not None and until <= one_search_until(session, policy)
    return None if spared else until


def _later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
