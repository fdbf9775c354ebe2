"""Names how hold, capture and Monta's price differ, and by what amount."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum

from app.domain.limit.policy import Policy
from app.domain.reconciliation.balance import (
    PspReport,
    balance,
    final_record,
    is_release,
    monta_price_minor,
    record_price_minor,
)
from app.domain.session.holds import hold_deadline
from app.domain.session.late_facts import BLUR_WH, UNFINISHED, was_released
from app.domain.session.payment_session import PaymentSession, Status
from app.domain.session.settlement import CaptureOutcome, Settlement, SettlementBasis, SettlementStatus
from app.domain.units.frozen import frozen
from app.domain.units.money import format_minor


class DifferenceKind(StrEnum):
    """What kind of difference it is; `MEANINGS` has the words."""

    CURRENCY = "currency"
    RELEASE_AFTER_ENERGY = "release_after_energy"
    LATE_METER = "late_meter"
    TARIFF_CHANGE = "tariff_change"
    ROUNDING = "rounding"
    SETTLED_BY_HAND = "settled_by_hand"
    OVERRUN = "overrun"
    CAPTURE_MISSING = "capture_missing"
    CAPTURE_LATE = "capture_late"
    CAPTURE_FAILED = "capture_failed"
    CAPTURE_DIFFERS = "capture_differs"
    SEVERAL_CAPTURES = "several_captures"
    NOT_SETTLED = "not_settled"


MEANINGS = {
    DifferenceKind.CURRENCY: "Monta charged in another currency than the hold's.",
    DifferenceKind.RELEASE_AFTER_ENERGY: "The hold was released, and the record shows energy.",
    DifferenceKind.LATE_METER: "The record's energy differs from the energy that was settled.",
    DifferenceKind.TARIFF_CHANGE: "The record's price for the same energy differs from what was settled.",
    DifferenceKind.ROUNDING: "The record's price differs by one minor unit.",
    DifferenceKind.SETTLED_BY_HAND: "Operations settled another amount than Monta charges.",
    DifferenceKind.OVERRUN: "The charge cost more than was authorized; the rest is unpaid.",
    DifferenceKind.CAPTURE_MISSING: "The PSP has not captured what was settled.",
    DifferenceKind.CAPTURE_LATE: "The capture was reported after the hold had expired.",
    DifferenceKind.CAPTURE_FAILED: "The PSP refused the capture; another attempt is due.",
    DifferenceKind.CAPTURE_DIFFERS: "The PSP captured or released another amount than was settled.",
    DifferenceKind.SEVERAL_CAPTURES: "Several captures come to more than was settled.",
    DifferenceKind.NOT_SETTLED: "The hold has expired, and the session is not settled.",
}


WHAT_TO_DO = {
    DifferenceKind.CURRENCY: "Give the charge point a price group in the hold's currency; bill or refund outside.",
    DifferenceKind.RELEASE_AFTER_ENERGY: "The hold is gone: bill the driver outside Tapwatt, or write it off.",
    DifferenceKind.LATE_METER: "Refund or write off the difference; when it recurs, have the meter looked at.",
    DifferenceKind.TARIFF_CHANGE: "Compare Monta's price group with the tariff shown; refund what is too much.",
    DifferenceKind.ROUNDING: "Nothing.",
    DifferenceKind.SETTLED_BY_HAND: "Nothing, if the reason in the journal holds.",
    DifferenceKind.OVERRUN: "Write it off; see in the time line whether the stop came late.",
    DifferenceKind.CAPTURE_MISSING: "Bring the terminal online, or capture at the PSP and report it, in time.",
    DifferenceKind.CAPTURE_LATE: "See at the PSP whether the money came; if not, write it off.",
    DifferenceKind.CAPTURE_FAILED: "Wait for the next attempt; when the last one fails, ask the PSP why.",
    DifferenceKind.CAPTURE_DIFFERS: "Compare with the PSP's own list; refund what was captured too much.",
    DifferenceKind.SEVERAL_CAPTURES: "Refund the surplus at the PSP; ask the terminal's vendor why.",
    DifferenceKind.NOT_SETTLED: "Settle or close the session; the hold can no longer be captured.",
}
"""For people, by kind."""


@frozen(kw_only=True)
class Difference:
    """One difference and the amount at stake. `amount_minor` in the hold's minor units; above 0 where the operator
    lacks it, below 0 where the driver paid too much."""

    kind: DifferenceKind
    amount_minor: int
    detail: str


def differences(
    session: PaymentSession, reports: Sequence[PspReport], policy: Policy, now: datetime
) -> tuple[Difference, ...]:
    """Every difference of one session as of `now`, those with Monta first. Empty: hold, PSP and Monta agree."""
    if session.settlement is None:
        return tuple(_not_settled(session, policy, now))
    settlement = session.settlement
    return (
        *_with_monta(session, settlement),
        *_overrun(session, settlement),
        *_with_psp(session, settlement, reports, now),
    )


def _not_settled(session: PaymentSession, policy: Policy, now: datetime) -> Iterator[Difference]:
    deadline = hold_deadline(session, policy)
    if now >= deadline:
        at_stake = monta_price_minor(session)
        yield Difference(
            kind=DifferenceKind.NOT_SETTLED,
            amount_minor=session.authorized_minor if at_stake is None else at_stake,
            detail=f"the hold expired at {deadline.isoformat(timespec='seconds')}",
        )


def _with_monta(session: PaymentSession, settlement: Settlement) -> Iterator[Difference]:
    record, currency = final_record(session), session.authorization.currency
    if record is None:
        return
    if record.currency not in (None, currency):
        yield Difference(
            kind=DifferenceKind.CURRENCY,
            amount_minor=-settlement.to_capture_minor,
            detail=f"Monta charged {record.price} {record.currency}, the hold is in {currency}",
        )
        return
    energy_wh = record.energy_wh if record.energy_wh is not None else record.claimed_wh
    owed = _owed_minor(session, settlement)
    price = record_price_minor(record, currency)
    unpaid = 0 if price is None else price - owed
    moved_wh = 0 if energy_wh is None else energy_wh - _settled_wh(session, settlement)
    if session.status is Status.NOT_STARTED and was_released(session, record) and not energy_wh:
        return
    kind = _kind(session, settlement, unpaid, moved_wh)
    if kind is not None:
        shown = "no price" if price is None else format_minor(price, currency)
        detail = f"settled {format_minor(owed, currency)} for {settlement.energy_wh} Wh, "
        yield Difference(
            kind=kind, amount_minor=unpaid, detail=f"{detail}Monta shows {shown} for {energy_wh} Wh"
        )


def _owed_minor(session: PaymentSession, settlement: Settlement) -> int:
    """The price that was settled by, waived ones included."""
    known = session.settled_record
    if settlement.basis is SettlementBasis.BELOW_LEAST and known is not None:
        return record_price_minor(known, session.authorization.currency) or 0
    return settlement.to_capture_minor + settlement.shortfall_minor


def _settled_wh(session: PaymentSession, settlement: Settlement) -> int:
    """Returns the energy of the record that was settled by. What was settled without one is its own energy."""
    known = session.settled_record
    return settlement.energy_wh if known is None or known.energy_wh is None else known.energy_wh


def _kind(
    session: PaymentSession, settlement: Settlement, unpaid: int, moved_wh: int
) -> DifferenceKind | None:
    """The kind of a difference with Monta's record. None: it agrees."""
    energy_moved = abs(moved_wh) >= BLUR_WH
    if settlement.basis is SettlementBasis.PERSON:
        return DifferenceKind.SETTLED_BY_HAND if unpaid else None
    if is_release(session) and energy_moved and moved_wh > 0:
        return DifferenceKind.RELEASE_AFTER_ENERGY
    if energy_moved and (unpaid or settlement.basis not in UNFINISHED):
        return DifferenceKind.LATE_METER
    if not unpaid:
        return None
    return DifferenceKind.ROUNDING if abs(unpaid) == 1 else DifferenceKind.TARIFF_CHANGE


def _overrun(session: PaymentSession, settlement: Settlement) -> Iterator[Difference]:
    if settlement.shortfall_minor:
        yield Difference(
            kind=DifferenceKind.OVERRUN,
            amount_minor=settlement.shortfall_minor,
            detail=f"authorized {format_minor(session.authorized_minor, session.authorization.currency)}",
        )


def _with_psp(
    session: PaymentSession, settlement: Settlement, reports: Sequence[PspReport], now: datetime
) -> Iterator[Difference]:
    captures = [r for r in reports if r.outcome is CaptureOutcome.CAPTURED and r.amount_minor]
    captured, asked = sum(c.amount_minor for c in captures), settlement.to_capture_minor
    currency, count = session.authorization.currency, len(captures)
    words = f"captured {format_minor(captured, currency)} of {format_minor(asked, currency)}"
    if count > 1:
        words += f" in {count} captures"
    late = [c for c in captures if c.reported_at > settlement.deadline]
    if captured > asked and len(captures) > 1:
        yield Difference(kind=DifferenceKind.SEVERAL_CAPTURES, amount_minor=asked - captured, detail=words)
    elif settlement.retry_at is not None:
        due = settlement.retry_at.isoformat(timespec="seconds")
        times = "time" if settlement.attempts == 1 else "times"
        again = f"{words}, refused {settlement.attempts} {times}; the next attempt is due at {due}"
        yield Difference(kind=DifferenceKind.CAPTURE_FAILED, amount_minor=asked - captured, detail=again)
    elif captured > asked or settlement.status is SettlementStatus.FAILED:
        yield Difference(kind=DifferenceKind.CAPTURE_DIFFERS, amount_minor=asked - captured, detail=words)
    elif captured < asked and now >= settlement.report_due_at:
        yield Difference(kind=DifferenceKind.CAPTURE_MISSING, amount_minor=asked - captured, detail=words)
    elif is_release(session) and settlement.status is SettlementStatus.DUE and now >= settlement.deadline:
        held = balance(session, reports).open_minor
        yield Difference(
            kind=DifferenceKind.CAPTURE_MISSING,
            amount_minor=0,
            detail=f"the release of {format_minor(held, currency)} is not reported",
        )
    if late and not captured > asked:
        yield Difference(
            kind=DifferenceKind.CAPTURE_LATE,
            amount_minor=0,
            detail=f"reported at {late[0].reported_at.isoformat(timespec='seconds')}",
        )
