"""Compares Monta's later reports of an ended session with its settlement."""

from datetime import datetime, timedelta
from decimal import Decimal

from app.domain.charging.charge import ENDED, Charge, ChargeReport, ChargeState
from app.domain.limit.policy import Policy
from app.domain.session.attention import AttentionCode as Code
from app.domain.session.machine import Change, ReadCharge, Source, Wait
from app.domain.session.payment_session import PaymentSession, Reads, Status
from app.domain.session.settlement import Settlement, SettlementBasis
from app.domain.units.frozen import replace
from app.domain.units.money import Rounding, to_minor

BLUR_WH = 10
"""Energy is shown in two decimals of a kWh."""
MAX_RECHECKS = 12
"""Reads of one ended session that webhooks may cause. Afterwards only the hourly reconciliation compares it."""
UNFINISHED = frozenset(
    {SettlementBasis.LAST_PRICE, SettlementBasis.TARIFF_MINIMUM, SettlementBasis.NOTHING_KNOWN}
)
GONE = "Monta no longer has the record of the charge that was settled"


def compare_late_price(change: Change) -> Change:
    """Compares the final record with the settlement. Journals each difference once and captures nothing again. It
    closes when the record agrees again."""
    session = change.session
    charge, settlement = session.charge, session.settlement
    if charge is None or settlement is None or not _is_final(charge):
        return change
    record, source = charge.latest, Source.MONTA_API
    if session.settled_record is None and settlement.basis is SettlementBasis.PERSON:
        return change.to(replace(session, settled_record=record))
    if session.settled_record is not None and _facts(record) == _facts(session.settled_record):
        return change.clear_attention(Code.RECORD_CHANGED, source)
    why = _difference(session, settlement, record)
    about = " ".join(str(fact) for fact in _facts(record))
    change = change.set_attention(Code.RECORD_CHANGED, why, source, about=about)
    if settlement.basis in UNFINISHED:
        change = change.clear_attention(Code.SETTLED_UNFINISHED, source)
    return change


def apply_late_webhook(change: Change, before: Charge | None, report: ChargeReport, source: Source) -> Change:
    """Schedules a read when a webhook contradicts an ended session's record."""
    settlement = change.session.settlement
    if source is not Source.MONTA_WEBHOOK or before is None or settlement is None:
        return change
    known_at, said_at = _second(before.latest), _second(report)
    if said_at < known_at or (said_at == known_at and report.state is not ChargeState.COMPLETED):
        return change
    if report.state in ENDED:
        record = before.latest if _is_final(before) else None
        agrees = (
            _agree(report, record)
            if record is not None
            else _difference(change.session, settlement, report) is None
        )
        if agrees:
            return change
    return contradicted(change, said_at)


def contradicted(change: Change, said_at: datetime) -> Change:
    """Marks an ended session's record to be read until `said_at`. Until it is as new as that."""
    session = change.session
    if not session.ended or session.charge is None:
        return change
    earlier = session.reads.contradicted_at
    until = said_at if earlier is None else max(earlier, said_at)
    return change.to(replace(session, reads=replace(session.reads, contradicted_at=until)))


def runs_again(known: Charge, report: ChargeReport, source: Source) -> bool:
    """Whether a newer record shows a completed charge running again."""
    by_record = source is Source.MONTA_API and report.state not in ENDED
    return by_record and known.ended and _second(report) > _second(known.latest)


def rises(session: PaymentSession, report: ChargeReport) -> bool:
    """Whether a report shows more energy of an ended session's charge. More than any before it."""
    charge, energy_wh = session.charge, _energy(report)
    if not session.ended or charge is None or charge.id != report.id or energy_wh is None:
        return False
    return energy_wh >= _most_reported(charge) + BLUR_WH


def flows_on(session: PaymentSession, report: ChargeReport, source: Source) -> bool:
    """Whether an ended charge's energy rises a second time after settlement. One late rise may be a correction; a
    second one is energy that flows."""
    charge, settlement = session.charge, session.settlement
    if source is not Source.MONTA_API or charge is None or settlement is None or not rises(session, report):
        return False
    was_over = charge.final_read or (charge.ended and session.status is Status.NOT_STARTED)
    return was_over and charge.latest.from_record and _most_reported(charge) >= settlement.energy_wh + BLUR_WH


def recheck(session: PaymentSession, policy: Policy, now: datetime) -> ReadCharge | Wait:
    """When to read an ended session's record again, at growing intervals. Never without a reason."""
    reads, charge = session.reads, session.charge
    if charge is None or reads.contradicted_at is None or reads.rechecks >= MAX_RECHECKS:
        return Wait(None)
    pause = min(policy.settle_poll_s * 1.5**reads.rechecks, policy.settle_poll_max_s)
    due = now if reads.attempted_at is None else reads.attempted_at + timedelta(seconds=pause)
    due = max(due, reads.not_before or due)
    return ReadCharge(charge.id) if due <= now else Wait(due)


def rechecked(reads: Reads, report: ChargeReport, *, risen: bool) -> Reads:
    """Notes a read of the record, which settles earlier contradictions. Unless it is older or its energy rose."""
    contradicted_at = reads.contradicted_at
    caught_up = not risen and (
        contradicted_at is None or report.updated_at is None or _second(report) >= contradicted_at
    )
    return replace(reads, rechecks=reads.rechecks + 1, contradicted_at=None if caught_up else contradicted_at)


def record_gone(change: Change) -> Change:
    """Handles a 404 for the charge of an ended session."""
    reads = replace(change.session.reads, contradicted_at=None)
    change = change.to(replace(change.session, reads=reads))
    return change.set_attention(Code.RECORD_GONE, GONE, Source.MONTA_API)


def _is_final(charge: Charge) -> bool:
    return charge.final_read and charge.latest.from_record and charge.state is ChargeState.COMPLETED


def _facts(report: ChargeReport) -> tuple[object, ...]:
    return _price(report), report.currency, _energy(report)


def _agree(report: ChargeReport, record: ChargeReport) -> bool:
    """Whether a webhook agrees with the record. Fields that it leaves out agree."""
    return all(
        said is None or said == known for said, known in zip(_facts(report), _facts(record), strict=True)
    )


def _price(report: ChargeReport) -> Decimal | None:
    """Returns Monta's reported price for the journal, believed or not. Never for a bill."""
    return report.price if report.price is not None else report.claimed_price


def _energy(report: ChargeReport) -> int | None:
    return report.energy_wh if report.energy_wh is not None else report.claimed_wh


def _most_reported(charge: Charge) -> int:
    return max(charge.energy_wh, _energy(charge.latest) or 0)


def _difference(session: PaymentSession, settlement: Settlement, report: ChargeReport) -> str | None:
    """In words; None: what was settled stands."""
    price, energy = _price(report), _energy(report)
    shown = "" if energy is None else f"{energy / 1000:.3f} kWh and "
    words = f"Monta's record says {shown}{price} {report.currency or ''}".rstrip()
    differs = f"{words}, which is not what was settled by"
    if report.currency not in (None, session.authorization.currency):
        return differs
    if settlement.basis in (SettlementBasis.PERSON, SettlementBasis.BELOW_LEAST):
        return differs
    if energy is not None and abs(energy - settlement.energy_wh) >= BLUR_WH:
        return differs
    released = session.status is Status.NOT_STARTED and was_released(session, report)
    if price is None or (released and not energy):
        return None
    price_minor = max(0, to_minor(price, session.authorization.currency, Rounding.HALF_UP))
    return None if price_minor == settlement.to_capture_minor + settlement.shortfall_minor else differs


def was_released(session: PaymentSession, report: ChargeReport) -> bool:
    """Whether a start was given up before any energy. The hold is then released, even when Monta charges a fee."""
    return session.stop is not None or report.failed_at is not None


def _second(report: ChargeReport) -> datetime:
    """Some of Monta's dates come without fractions."""
    return (report.updated_at or report.seen_at).replace(microsecond=0)
