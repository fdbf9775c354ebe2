"""Ends a session: settles by the final record, or releases it."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from app.domain.charging.charge import ChargeState
from app.domain.limit.policy import Policy
from app.domain.session.attention import AttentionCode as Code
from app.domain.session.holds import hold_deadline, holds, spread
from app.domain.session.machine import Change, Command, Source
from app.domain.session.payment_session import (
    DuplicateCharge,
    Lost,
    NotStartedReason,
    PaymentSession,
    StartOutcome,
    Status,
    StopReason,
)
from app.domain.session.plausibility import (
    final_energy_wh,
    last_believed,
    negative_price_unexpected,
    price_above_tariff,
)
from app.domain.session.settlement import (
    CaptureOutcome,
    CaptureReport,
    Settlement,
    SettlementBasis,
    SettlementStatus,
    after_reports,
    decided_digest,
    settle,
    what_differs,
    with_retry,
)
from app.domain.session.states.journal import JournalKind
from app.domain.session.states.phases import Phase, phase_of
from app.domain.tariff.model import Dimension
from app.domain.tariff.rates import rates_of
from app.domain.units.frozen import replace
from app.domain.units.money import Rounding, format_minor, to_minor


class ShortfallCause(StrEnum):
    """Why a charge came to cost more than the authorization.

    MONTAS_LIMIT_MISSED: Monta confirmed a limit within the authorization, and no fee can have run on after the stop.
    FEES_AFTER_STOP: the tariff charges for a cable that is left in. STOP_UNCONFIRMED: it was stopped repeatedly.
    UNKNOWN: none of these.
    """

    MONTAS_LIMIT_MISSED = "montas_limit_missed"
    FEES_AFTER_STOP = "fees_after_stop"
    STOP_UNCONFIRMED = "stop_unconfirmed"
    UNKNOWN = "unknown"


def cause_of_shortfall(session: PaymentSession) -> ShortfallCause:
    """The likeliest cause of a shortfall, the driver's own first."""
    tariff, limits, charge = session.tariff, session.monta_limits, session.charge
    if tariff is not None and any(Dimension.PARKING_TIME in each.rates for each in rates_of(tariff).elements):
        return ShortfallCause.FEES_AFTER_STOP
    shown = (None, None) if charge is None else (charge.latest.kwh_limit, charge.latest.price_limit)
    if (
        limits is not None
        and limits.authorized_minor <= session.authorized_minor
        and limits.confirmed_by(*shown)
    ):
        return ShortfallCause.MONTAS_LIMIT_MISSED
    if session.stop is not None and session.stop.attempts > 1:
        return ShortfallCause.STOP_UNCONFIRMED
    return ShortfallCause.UNKNOWN


OVERDUE = "the capture has not been reported, and half of the time until its hold expires is over"
LATE = "the PSP's report came after the hold had expired"


def flag_overdue(change: Change, now: datetime) -> Change:
    """Flags a settlement whose capture is not reported in time. Once, and not a young one."""
    session, settlement = change.session, change.session.settlement
    if settlement is None or settlement.status is not SettlementStatus.DUE:
        return change
    if settlement.overdue_since is not None or now < settlement.report_due_at:
        return change
    change = change.to(replace(session, settlement=replace(settlement, overdue_since=now)))
    return change.raise_attention(Code.CAPTURE_OVERDUE, OVERDUE, Source.WATCHER)


REFUSED = "the PSP refused the capture"


def reported(change: Change, reports: Sequence[CaptureReport], now: datetime, policy: Policy) -> Change:
    """Applies one more capture report, the last of `reports`. Updates the settlement's status and attention.

    Raises HoldUnknown.
    """
    session, newest = change.session, reports[-1]
    if session.settlement is None:
        return change
    valid_until = {hold.reference: hold.valid_until for hold in holds(session, policy)}
    settlement = with_retry(after_reports(session.settlement, reports), reports, valid_until, policy)
    change = change.to(replace(session, settlement=settlement)).note(
        JournalKind.CAPTURE_REPORTED,
        Source.TERMINAL,
        outcome=newest.outcome,
        amount_minor=newest.amount_minor,
        reference=newest.reference,
        authorization_reference=newest.authorization_reference,
        retryable=newest.retryable,
        status=settlement.status,
        retry_at=None if settlement.retry_at is None else settlement.retry_at.isoformat(timespec="seconds"),
    )
    change = _with_retry_shown(clear_overdue(change, Source.TERMINAL), settlement, reports)
    if newest.outcome is CaptureOutcome.CAPTURED and newest.amount_minor and now > settlement.deadline:
        change = change.raise_attention(Code.REPORTED_LATE, LATE, Source.TERMINAL)
    return change


def _with_retry_shown(change: Change, settlement: Settlement, reports: Sequence[CaptureReport]) -> Change:
    """Shows a refused capture as one item until it is captured. That the PSP did something else needs operations at
    once."""
    missing = settlement.captured_minor < settlement.to_capture_minor
    refused = settlement.status is SettlementStatus.FAILED and settlement.attempts > 0 and missing
    change = change.set_attention(Code.CAPTURE_FAILED, REFUSED if refused else None, Source.TERMINAL)
    currency = change.session.authorization.currency
    differs = what_differs(settlement, reports, currency) if settlement.retry_at is None else None
    return change.set_attention(Code.CAPTURE_DIFFERS, differs, Source.TERMINAL, about=differs or "")


def clear_overdue(change: Change, source: Source) -> Change:
    """Clears attention about the capture once the PSP's result is complete."""
    settlement = change.session.settlement
    if settlement is None or settlement.status is SettlementStatus.DUE:
        return change
    change = change.clear_attention(Code.CAPTURE_OVERDUE, source)
    if settlement.status is SettlementStatus.CONFIRMED:
        change = change.clear_attention(Code.SETTLED_LATE, source)
    return change


WATCHER = Source.WATCHER

UNFINISHED = {
    SettlementBasis.LAST_PRICE: "settled before Monta's final record came, by the last price that it showed",
    SettlementBasis.TARIFF_MINIMUM: "settled without a price of Monta's that could be believed, by the tariff's least",
    SettlementBasis.NOTHING_KNOWN: "released for want of any amount that could be believed; energy may be unpaid",
}


def settle_final(change: Change, now: datetime, policy: Policy) -> Change:
    """Bills Monta's final price, at most the authorization. A negative one is a release. The charge's final record must
    be billable."""
    session = change.session
    charge = session.charge
    if charge is None or charge.latest.price is None:
        raise ValueError(f"payment session {session.id} has no final price to settle by")
    price_minor = _to_bill(charge.latest.price, session.authorization.currency)
    if charge.latest.price < 0:
        change = change.note(JournalKind.NEGATIVE_PRICE, WATCHER, price=str(charge.latest.price))
    if negative_price_unexpected(session, charge, policy):
        price = f"{charge.latest.price} {session.authorization.currency}"
        why = f"Monta's final price is {price}, where the tariff has the driver pay: released"
        change = change.raise_attention(Code.NEGATIVE_PRICE, why, WATCHER)
    if _below_least(session, price_minor, final_energy_wh(charge)):
        change = change.note(JournalKind.BELOW_LEAST, WATCHER, price_minor=price_minor)
        return _billed(change, 0, SettlementBasis.BELOW_LEAST, now=now, policy=policy)
    change = _billed(change, price_minor, SettlementBasis.FINAL_PRICE, now=now, policy=policy)
    above = price_above_tariff(session, charge, policy)
    return change if above is None else change.raise_attention(Code.PRICE_ABOVE_TARIFF, above, WATCHER)


def _below_least(session: PaymentSession, price_minor: int, energy_wh: int) -> bool:
    """Whether the operator's policy waives this price. One of 0 is a release anyway."""
    least = price_minor < session.least_capture_minor or energy_wh < session.least_energy_wh
    return price_minor > 0 and least


def settle_unfinished(change: Change, now: datetime, policy: Policy) -> Change:
    """Settles before the hold expires by what is plausible, and raises attention. A charge that still runs is stopped
    on, as a duplicate."""
    charge = change.session.charge
    if charge is None:
        raise ValueError(f"payment session {change.session.id} has no charge to settle by")
    amount_minor, basis = last_believed(change.session, charge, policy)
    change = _billed(change, amount_minor or 0, basis, now=now, policy=policy)
    change = change.raise_attention(Code.SETTLED_UNFINISHED, UNFINISHED[basis], WATCHER)
    lost = change.session.lost is not None
    change = _stopped_on(change, now)
    if charge.ended or lost:
        return change
    why = f"charge {charge.id} ran on when its hold was about to die: no stop ended it"
    return change.raise_attention(Code.RAN_ON, why, WATCHER)


def _stopped_on(change: Change, now: datetime) -> Change:
    """Turns a charge that may run into a duplicate. It is stopped, and watched until it has ended."""
    session, charge = change.session, change.session.charge
    if charge is None or charge.ended or session.lost is Lost.GONE:
        return change
    duplicate = DuplicateCharge(
        id=charge.id,
        state=charge.state,
        found_at=now,
        seen_at=charge.seen_at,
        attempts=session.stop.attempts if session.stop and session.lost else 0,
        next_at=session.stop.next_at if session.stop and session.lost else None,
    )
    others = tuple(e for e in session.duplicates if e.id != charge.id)
    return change.to(replace(session, duplicates=(*others, duplicate)))


def settle_by_person(
    change: Change, amount_minor: int, reason: str, *, now: datetime, policy: Policy
) -> Change:
    """Settles an ended charge by operations' amount. Up to the authorization. Clears all attention."""
    change = change.note(
        JournalKind.AMOUNT_DECIDED, Source.OPERATIONS, amount_minor=amount_minor, reason=reason
    )
    change = _billed(change, amount_minor, SettlementBasis.PERSON, now=now, policy=policy)
    return _stopped_on(change.to(replace(change.session, attention=())), now)


def may_be_settled_by_person(session: PaymentSession) -> bool:
    """Whether no charge can run any more that would change the amount."""
    charge = session.charge
    return (
        session.status is Status.FINISHING
        and charge is not None
        and (charge.ended or session.lost is not None)
    )


def closed_by_person(
    change: Change, amount_minor: int, reason: str, *, now: datetime, policy: Policy
) -> Change:
    """Closes a session in any state by operations' amount. At most the authorization. Its charge is stopped if it may
    run; after an unknown start Monta is searched, and a charge that appears is stopped.

    Raises ValueError for an amount that was never authorized, NotAllowed for a session that has ended.
    """
    session, charge = change.session, change.session.charge
    if not 0 <= amount_minor <= session.authorized_minor:
        raise ValueError("the amount must be within what was authorized")
    change = change.note(
        JournalKind.CLOSED_BY_OPERATIONS,
        Source.OPERATIONS,
        amount_minor=amount_minor,
        reason=reason,
        status=session.status,
    )
    settlement = settle(
        session.authorized_minor,
        amount_minor,
        energy_wh=final_energy_wh(charge) if charge else 0,
        at=now,
        deadline=hold_deadline(session, policy),
        session_date=(charge.latest.started_at if charge else None) or session.created_at,
        basis=SettlementBasis.PERSON,
    )
    watch_until, phase = _watched_until(session, now, policy), phase_of(session, policy, now)
    nothing = charge is None and not amount_minor
    change = change.apply(Command.GIVE_UP if nothing else Command.END, Source.OPERATIONS)
    session = replace(
        change.session,
        not_started_reason=NotStartedReason.CANCELED if nothing else None,
        stop_reason=None if nothing else (change.session.stop_reason or StopReason.OPERATIONS),
        watch_until=watch_until,
        attention=(),
    )
    return _stopped_on(_with_settlement(change.to(session), settlement, policy, phase), now)


def _watched_until(session: PaymentSession, now: datetime, policy: Policy) -> datetime | None:
    """Until when a charge of ours may still appear. None when none was ever requested."""
    if session.start.intent_at is None or (session.charge is not None and session.charge.final_read):
        return session.watch_until
    until = now + timedelta(seconds=policy.duplicate_watch_s)
    return max(session.watch_until or until, until)


def _to_bill(price: Decimal, currency: str) -> int:
    """The price in minor units; a negative one is 0."""
    return max(0, to_minor(price, currency, Rounding.HALF_UP))


def _billed(
    change: Change, amount_minor: int, basis: SettlementBasis, *, now: datetime, policy: Policy
) -> Change:
    session = change.session
    charge = session.charge
    started_at = charge.latest.started_at if charge else None
    settlement = settle(
        session.authorized_minor,
        amount_minor,
        energy_wh=final_energy_wh(charge) if charge else 0,
        at=now,
        deadline=hold_deadline(session, policy),
        session_date=started_at or session.created_at,
        basis=basis,
    )
    command = Command.CLOSE if session.status is Status.STOPPING else Command.COMPLETE
    phase = phase_of(session, policy, now)
    source = Source.OPERATIONS if basis is SettlementBasis.PERSON else WATCHER
    change = _with_settlement(change.apply(command, source), settlement, policy, phase)
    if settlement.shortfall_minor:
        change = change.note(JournalKind.SHORTFALL, WATCHER, cause=cause_of_shortfall(session))
        missing = format_minor(settlement.shortfall_minor, session.authorization.currency)
        why = f"the charge cost {missing} more than was authorized"
        change = change.raise_attention(Code.SHORTFALL, why, WATCHER)
    return change


def release_unused(change: Change, reason: NotStartedReason, now: datetime, policy: Policy) -> Change:
    """Releases the whole hold. A charge that may still run or appear is watched for, and stopped, for a while."""
    session = change.session
    settlement = settle(
        session.authorized_minor,
        0,
        energy_wh=0,
        at=now,
        deadline=hold_deadline(session, policy),
        session_date=session.created_at,
        basis=SettlementBasis.NOTHING_RAN,
    )
    watch_until, phase = session.watch_until, phase_of(session, policy, now)
    start_unknown = session.start.outcome is StartOutcome.UNKNOWN
    unfinished = session.charge is not None and session.charge.state is not ChargeState.COMPLETED
    if start_unknown or unfinished:
        until = now + timedelta(seconds=policy.duplicate_watch_s)
        watch_until = max(watch_until or until, until)
    change = change.apply(Command.GIVE_UP, WATCHER)
    change = change.to(
        replace(change.session, not_started_reason=reason, stop_reason=None, watch_until=watch_until)
    )
    return _stopped_on(_with_settlement(change, settlement, policy, phase), now)


def _with_settlement(change: Change, settlement: Settlement, policy: Policy, phase: Phase) -> Change:
    """`phase`: in which the decision was taken."""
    shares = spread(settlement.to_capture_minor, holds(change.session, policy))
    record = charge.latest if (charge := change.session.charge) is not None and charge.final_read else None
    change = change.to(
        replace(change.session, settlement=replace(settlement, shares=shares), settled_record=record)
    )
    change = change.note(
        JournalKind.SETTLEMENT_DECIDED,
        WATCHER,
        phase=phase,
        action=settlement.action,
        to_capture_minor=settlement.to_capture_minor,
        to_release_minor=settlement.to_release_minor,
        shortfall_minor=settlement.shortfall_minor,
        energy_wh=settlement.energy_wh,
        basis=settlement.basis,
        price=_price_behind(change.session, settlement),
        settlement=decided_digest(asdict(replace(settlement, shares=shares))),
    )
    if settlement.to_capture_minor and settlement.decided_at >= settlement.deadline:
        why = "settled after the hold had expired: the PSP may refuse the capture"
        change = change.raise_attention(Code.SETTLED_LATE, why, WATCHER)
    return change


def _price_behind(session: PaymentSession, settlement: Settlement) -> str | None:
    """Monta's price in major units that is billed. None: the amount rests on something else."""
    if session.charge is None or settlement.basis not in (
        SettlementBasis.FINAL_PRICE,
        SettlementBasis.LAST_PRICE,
    ):
        return None
    billed_minor = settlement.to_capture_minor + settlement.shortfall_minor
    for report in (session.charge.latest, session.charge.last_priced):
        price = None if report is None else report.price
        if price is not None and _to_bill(price, session.authorization.currency) == billed_minor:
            return str(price)
    return None
