"""The outcome of a settlement: a person is asked about one that nobody tells, until somebody does."""

from dataclasses import replace
from datetime import datetime

from app.domain.attention import AttentionCode
from app.domain.change import Change, Source
from app.domain.settlement import SettlementStatus

UNHEARD = "nobody has told what became of the settlement, and half of the time until its hold expires is over"


def unheard(change: Change, now: datetime) -> Change:
    """Ask a person, once, when it is time to; of a settlement whose outcome is known, or that is young, nothing."""
    session, settlement = change.session, change.session.settlement
    if settlement is None or settlement.status is not SettlementStatus.DUE:
        return change
    if settlement.asked_at is not None or now < settlement.ask_at:
        return change
    change = change.to(replace(session, settlement=replace(settlement, asked_at=now)))
    return change.raise_attention(AttentionCode.OUTCOME_UNHEARD, UNHEARD, Source.WATCHER)


def heard(change: Change, source: Source) -> Change:
    """What the PSP did was reported: if that was the whole of it, nobody need ask for it any more."""
    settlement = change.session.settlement
    if settlement is None or settlement.status is SettlementStatus.DUE:
        return change
    return change.clear_attention(AttentionCode.OUTCOME_UNHEARD, source)
