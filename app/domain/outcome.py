"""The outcome of a settlement: what the PSP did is compared with it, and a person asked where nobody tells."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from app.domain.attention import AttentionCode as Code
from app.domain.capture_reports import CaptureReport, after_reports, what_differs
from app.domain.change import Change, Source
from app.domain.settlement import CaptureOutcome, SettlementStatus

UNHEARD = "nobody has told what became of the settlement, and half of the time until its hold expires is over"
LATE = "the PSP's report came after the hold had expired"


def unheard(change: Change, now: datetime) -> Change:
    """Ask a person, once, when it is time to; of a settlement whose outcome is known, or that is young, nothing."""
    session, settlement = change.session, change.session.settlement
    if settlement is None or settlement.status is not SettlementStatus.DUE:
        return change
    if settlement.asked_at is not None or now < settlement.ask_at:
        return change
    change = change.to(replace(session, settlement=replace(settlement, asked_at=now)))
    return change.raise_attention(Code.OUTCOME_UNHEARD, UNHEARD, Source.WATCHER)


def reported(change: Change, reports: Sequence[CaptureReport], now: datetime) -> Change:
    """Take in one more report, the last of all `reports`: the status follows what was done, and attention the status.

    Raises HoldUnknown.
    """
    session, newest = change.session, reports[-1]
    if session.settlement is None:
        return change
    settlement = after_reports(session.settlement, reports)
    change = change.to(replace(session, settlement=settlement)).note(
        "capture_reported",
        Source.TERMINAL,
        outcome=newest.outcome,
        amount_minor=newest.amount_minor,
        reference=newest.reference,
        authorization_reference=newest.authorization_reference,
        status=settlement.status,
    )
    change = heard(change, Source.TERMINAL)
    differs = what_differs(settlement, reports)
    change = change.set_attention(Code.CAPTURE_DIFFERS, differs, Source.TERMINAL, about=differs or "")
    if newest.outcome is CaptureOutcome.CAPTURED and newest.amount_minor and now > settlement.deadline:
        change = change.raise_attention(Code.REPORTED_LATE, LATE, Source.TERMINAL)
    return change


def heard(change: Change, source: Source) -> Change:
    """What the PSP did is known as a whole: nobody need ask for it any more, nor fear that it could not be done."""
    settlement = change.session.settlement
    if settlement is None or settlement.status is SettlementStatus.DUE:
        return change
    change = change.clear_attention(Code.OUTCOME_UNHEARD, source)
    if settlement.status is SettlementStatus.CONFIRMED:
        change = change.clear_attention(Code.SETTLED_LATE, source)
    return change
