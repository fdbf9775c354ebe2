"""Facts come in: how a report of Monta's charge, or the lack of one, moves a payment session."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from app.domain.attention import AttentionCode
from app.domain.change import Change, Source
from app.domain.charge import ENDED, Charge, ChargeReport, ChargeState, merge
from app.domain.currency import currency_compared
from app.domain.disagreement import by_montas_limit, compared
from app.domain.late_facts import doubted, flows_on, heard_of, rises, runs_again
from app.domain.lost_charge import seen_again
from app.domain.meter import Trail, followed
from app.domain.payment_session import (
    ExtraCharge,
    PaymentSession,
    StartOutcome,
    Status,
    StopReason,
)
from app.domain.plausible import without_impossible
from app.domain.policy import Policy
from app.domain.price_disagreement import price_compared
from app.domain.report_times import believed, clock_difference_s
from app.domain.tariff.rates import rates_of
from app.domain.transitions import Command


def absorb(change: Change, report: ChargeReport, source: Source, policy: Policy) -> Change:
    """Take in one report of a charge that carries our reference or our charge id.

    The first charge that is ours is adopted; a report of the adopted one is merged; any other is an extra charge that
    will be stopped. A report that cannot be ours is noted and has no effect. An energy or a price that cannot be is
    set aside, whoever tells it.
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
    return extra_charge(change, report, source, policy)


def looked(change: Change, reports: Iterable[ChargeReport], *, at: datetime, policy: Policy) -> Change:
    """Take in the complete answer of a search for our reference, asked at `at`; the oldest charge is adopted."""
    found = sorted(reports, key=lambda r: (r.created_at or r.seen_at, r.id))
    start = replace(change.session.start, looks=change.session.start.looks + 1, looked_at=at)
    if all(_foreign(change.session, r) is not None for r in found):
        start = replace(start, empty_at=at, elsewhere=start.elsewhere or bool(found))
    reads = replace(change.session.reads, look_failures=0)
    change = change.to(replace(change.session, start=start, reads=reads))
    if change.session.status is Status.AUTHORIZED:
        change = change.note("looked_up", Source.MONTA_API, found=len(found))
    for report in found:
        change = absorb(change, report, Source.MONTA_API, policy)
    return change


def _in_our_time(
    change: Change, report: ChargeReport, source: Source, policy: Policy
) -> tuple[Change, ChargeReport]:
    """The report with its times as they can be by our own clock. The first one of our charge shows how Monta's clock
    differs; that, and each kind of time that cannot be, is told once."""
    session = change.session
    if (session.charge is None or session.charge.id != report.id) and _foreign(session, report) is not None:
        return change, believed(session, report, policy).report
    if session.charge is None and session.start.posts > 0:
        ahead_s = clock_difference_s(session, report, policy)
        if abs(ahead_s) > policy.clock_skew_s and ahead_s != session.start.monta_ahead_s:
            change = change.note("monta_clock_differs", source, ahead_s=ahead_s, charge_id=report.id)
        change = change.to(replace(session, start=replace(session.start, monta_ahead_s=ahead_s)))
    found = believed(change.session, report, policy)
    new = tuple(name for name in found.odd if name not in change.session.odd_times)
    if new:
        session = replace(change.session, odd_times=(*change.session.odd_times, *new))
        change = change.to(session).note(
            "impossible_time_left_out", source, charge_id=report.id, times=", ".join(new)
        )
    return change, found.report


def _foreign(session: PaymentSession, report: ChargeReport) -> str | None:
    """Why a report with our reference cannot be of a charge that we started; None when it may be. Never for a time in
    it: that would be Monta's clock against ours."""
    if any(extra.id == report.id for extra in session.extras):
        return None
    if report.partner_external_id not in (None, session.id):
        return "belongs to another payment session"
    if report.charge_point_id not in (None, session.charge_point_id):
        return f"runs at charge point {report.charge_point_id}"
    return None


def _adopted(change: Change, report: ChargeReport, source: Source, policy: Policy) -> Change:
    session = change.session
    intent_at = session.start.intent_at or session.created_at
    session = replace(
        session,
        start=replace(session.start, outcome=StartOutcome.ACCEPTED),
        watch_until=_later(session.watch_until, intent_at + timedelta(seconds=policy.stray_watch_s)),
    )
    change = change.to(session).note("charge_adopted", source, charge_id=report.id, state=report.state)
    return _merged(change.obey(Command.ADOPT, source), report, source, policy)


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
            seen_power_w=_seen_power_w(session, before, known),
            trail=_trail(session, report),
            watch_until=session.watch_until if by_rest else _without_one_look(session, policy),
        )
    )
    change = _reported(change, before, known, report, source)
    if session.ended:
        return _after_the_end(change, session, report, source, policy)
    change = currency_compared(change, known, source)
    change = compared(change, before, known, source)
    change = price_compared(change, before, known, source, policy)
    return _follow(change, source, restarted=before is not None and before.ended and not known.ended)


def _after_the_end(
    change: Change, known: PaymentSession, report: ChargeReport, source: Source, policy: Policy
) -> Change:
    """The session has ended: what contradicts it is looked into, and a charge that runs is one that nobody pays for.
    `known`: the session before this report."""
    before = known.charge
    change = heard_of(change, before, report, source)
    if source is Source.MONTA_API and rises(known, report):
        change = doubted(change, (report.updated_at or report.seen_at).replace(microsecond=0))
    if flows_on(known, report, source):
        return _stopped_again(change, report, source, policy)
    again = before is not None and runs_again(before, report, source)
    ended = change.session.charge is not None and change.session.charge.ended
    forgotten = ended and not again and all(e.id != report.id for e in change.session.extras)
    return change if forgotten else extra_charge(change, report, source, policy)


def _stopped_again(change: Change, report: ChargeReport, source: Source, policy: Policy) -> Change:
    """A charge that gives energy though its state says that it has ended: stopped at once."""
    change = extra_charge(change, report, source, policy)
    extras = tuple(
        replace(e, gives_on=True, next_at=None) if e.id == report.id else e for e in change.session.extras
    )
    return change.to(replace(change.session, extras=extras))


def _reported(
    change: Change, before: Charge | None, known: Charge, report: ChargeReport, source: Source
) -> Change:
    """Note what changed, and a meter that runs backwards; what an end settles needs no person any more."""
    if before is None or (known.latest.state, known.energy_wh) != (before.latest.state, before.energy_wh):
        change = change.note(
            "charge_reported",
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
            "meter_ran_backwards", source, reported_wh=report.energy_wh, kept_wh=known.energy_wh
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
    """Note what is not believed, when it begins."""
    if report.doubt is None or (before is not None and before.latest.doubt is not None):
        return change
    return change.note(
        "impossible_reading_left_out",
        source,
        reported_wh=report.claimed_wh,
        reported_price=_text(report.claimed_price),
        why=report.doubt,
    )


def _trail(session: PaymentSession, report: ChargeReport) -> Trail:
    """A reading counts from the moment for which Monta vouches, whenever it comes; the final record is none."""
    if report.energy_wh is None or report.state in ENDED:
        return session.trail
    tariff = session.tariff
    return followed(
        session.trail,
        report.as_of or report.seen_at,
        report.energy_wh,
        by_the_hour=tariff is not None and rates_of(tariff).plain_prices is None,
    )


def _seen_power_w(session: PaymentSession, before: Charge | None, known: Charge) -> int:
    """The highest average power so far; readings less than a second apart tell nothing."""
    if before is None:
        return session.seen_power_w
    seconds = int((known.energy_at - before.energy_at).total_seconds())
    risen_wh = known.energy_wh - before.energy_wh
    return (
        max(session.seen_power_w, risen_wh * 3600 // seconds)
        if seconds >= 1 and risen_wh > 0
        else session.seen_power_w
    )


def _follow(change: Change, source: Source, *, restarted: bool) -> Change:
    """Bring the status up to what Monta's charge shows."""
    session = change.session
    charge = session.charge
    if charge is None:
        return change
    if session.status is Status.STARTING and _runs(charge):
        change = change.obey(Command.RUN, source)
    if charge.ended and session.status is not Status.FINISHING:
        change = change.obey(Command.FINISH, source)
        reason = _stop_reason(session, charge)
        stop = replace(session.stop, confirmed_at=charge.seen_at) if session.stop else None
        change = change.to(replace(change.session, stop_reason=reason, stop=stop))
    if restarted:
        reads = replace(session.reads, idle_reads=0, polls=0)
        change = change.to(replace(change.session, reads=reads)).note(
            "charge_restarted", source, charge_id=charge.id
        )
    return change


def _stop_reason(session: PaymentSession, charge: Charge) -> StopReason:
    if session.stop is not None:
        return session.stop.reason
    return StopReason.LIMIT_REACHED if by_montas_limit(charge) else StopReason.VEHICLE_OR_CHARGE_POINT


def _runs(charge: Charge) -> bool:
    return not charge.gave_nothing or charge.state is ChargeState.CHARGING


def extra_charge(change: Change, report: ChargeReport, source: Source, policy: Policy) -> Change:
    """Keep watch over a charge of ours that nobody pays for."""
    session = change.session
    known = next((e for e in session.extras if e.id == report.id), None)
    if known is None:
        stop = session.stop if session.charge is not None and session.charge.id == report.id else None
        extra = ExtraCharge(
            id=report.id,
            state=report.state,
            found_at=report.seen_at,
            seen_at=report.seen_at,
            attempts=min(stop.attempts, policy.stop_alarm_attempts) if stop else 0,
        )
        change = change.note("extra_charge_found", source, charge_id=report.id, state=report.state)
        why = f"extra charge {report.id} of this payment session is stopped and never captured"
        change = change.raise_attention(AttentionCode.EXTRA_CHARGE, why, source, about=report.id)
    elif report.seen_at >= known.seen_at:
        extra = replace(known, state=report.state, seen_at=report.seen_at, missing=None, over_at=None)
    else:
        return change
    if not extra.live:
        change = change.clear_attention(AttentionCode.EXTRA_CHARGE_RUNS, source, about=report.id)
    others = tuple(e for e in change.session.extras if e.id != report.id)
    return change.to(replace(change.session, extras=(*others, extra)))


def _newer(report: ChargeReport, known: Charge) -> bool:
    return (report.as_of or report.seen_at) > known.energy_at


def one_look_until(session: PaymentSession, policy: Policy) -> datetime:
    """The end of a watch for strays that has room for one search after the POST."""
    return (session.start.intent_at or session.created_at) + timedelta(seconds=policy.stray_look_s)


def _without_one_look(session: PaymentSession, policy: Policy) -> datetime | None:
    """Webhooks come: they would tell of a second charge too, and the one search is spared."""
    until = session.watch_until
    spared = not session.ended and until is not None and until <= one_look_until(session, policy)
    return None if spared else until


def _later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
