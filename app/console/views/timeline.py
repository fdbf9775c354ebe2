"""Shows a session's journal, each line with cause and delay. Lines are facts, decisions and calls."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from app.console.views.formats import duration, kwh, money, words
from app.domain.session.states.journal import KINDS, JournalKind
from app.domain.units.frozen import frozen
from app.store.sessions.journal import JournalEntry

K = JournalKind

CAUSES: Mapping[str, tuple[str, ...]] = {
    K.START_INTENDED: (K.PAYMENT_AUTHORIZED, K.START_NOT_DONE),
    K.START_ACCEPTED: (K.START_INTENDED,),
    K.START_REFUSED: (K.START_INTENDED,),
    K.START_NOT_DONE: (K.START_INTENDED,),
    K.START_UNKNOWN: (K.START_INTENDED,),
    K.SEARCHED: (K.START_UNKNOWN, K.START_INTENDED),
    K.SEARCH_FAILED: (K.START_UNKNOWN, K.START_INTENDED),
    K.CHARGE_ADOPTED: (K.START_ACCEPTED, K.SEARCHED, K.START_INTENDED),
    K.STOP_INTENDED: (K.STOP_DECIDED,),
    K.STOP_ACCEPTED: (K.STOP_INTENDED,),
    K.STOP_FAILED: (K.STOP_INTENDED,),
    K.STOP_DECIDED: (K.STOP_REQUESTED, K.CHARGE_REPORTED),
    K.DUPLICATE_CHARGE_STOP_INTENDED: (K.DUPLICATE_CHARGE_FOUND,),
    K.DUPLICATE_CHARGE_STOP_ACCEPTED: (K.DUPLICATE_CHARGE_STOP_INTENDED,),
    K.DUPLICATE_CHARGE_STOP_FAILED: (K.DUPLICATE_CHARGE_STOP_INTENDED,),
    K.SETTLEMENT_DECIDED: (K.CLOSED_BY_OPERATIONS, K.AMOUNT_DECIDED, K.CHARGE_REPORTED),
    K.CAPTURE_REPORTED: (K.SETTLEMENT_DECIDED,),
    K.ATTENTION_ENDED: (K.ATTENTION_NEEDED,),
    K.ATTENTION_ACKNOWLEDGED: (K.ATTENTION_NEEDED,),
}
"""What leads to a line: the nearest earlier one of these kinds, those named first before the others."""

CALLS = frozenset(
    {K.START_INTENDED, K.START_ACCEPTED, K.START_REFUSED, K.START_NOT_DONE, K.START_UNKNOWN}
    | {K.SEARCHED, K.SEARCH_FAILED, K.READ_FAILED, K.READ_CUT_SHORT}
    | {K.STOP_INTENDED, K.STOP_ACCEPTED, K.STOP_FAILED}
    | {K.DUPLICATE_CHARGE_STOP_INTENDED, K.DUPLICATE_CHARGE_STOP_ACCEPTED, K.DUPLICATE_CHARGE_STOP_FAILED}
)
WORDS = frozenset({"reason", "phase", "state", "status", "old", "new", "action", "basis", "code", "command"})
"""Fields whose values are codes."""
DECISIONS = frozenset(
    {K.STATUS_CHANGED, K.STOP_DECIDED, K.SETTLEMENT_DECIDED, K.AMOUNT_DECIDED, K.CLOSED_BY_OPERATIONS}
    | {K.CHARGE_LOST, K.ATTENTION_NEEDED, K.ATTENTION_ENDED, K.ATTENTION_ACKNOWLEDGED}
)


@frozen(kw_only=True)
class TimelineEntry:
    """One line: what, by whom, its words and its cause. With the time since the cause."""

    id: int
    at: datetime
    since_tap: timedelta
    sort: str
    """fact, decision or call."""
    title: str
    meaning: str
    source: str
    facts: tuple[tuple[str, str], ...]
    cause: str | None
    delay: timedelta | None
    """Since the cause."""
    raw: str


def timeline_of(lines: Sequence[JournalEntry], began_at: datetime, currency: str) -> list[TimelineEntry]:
    """The journal in its own order. `currency`: of its amounts in minor units."""
    latest: dict[str, datetime] = {}
    told = []
    for line in lines:
        told.append(_entry(line, began_at, latest, currency))
        latest[line.kind] = line.at
    return told


def _entry(
    line: JournalEntry, began_at: datetime, latest: Mapping[str, datetime], currency: str
) -> TimelineEntry:
    cause = next((kind for kind in CAUSES.get(line.kind, ()) if kind in latest), None)
    known = next((row for kind, row in KINDS.items() if kind == line.kind), None)
    return TimelineEntry(
        id=line.id,
        at=line.at,
        since_tap=line.at - began_at,
        sort="call" if line.kind in CALLS else "decision" if line.kind in DECISIONS else "fact",
        title=words(line.kind),
        meaning=known.records if known else "",
        source=words(line.source),
        facts=tuple(
            _fact(name, value, currency)
            for name, value in line.detail.items()
            if value is not None and name != "by"
        ),
        cause=words(cause) if cause else None,
        delay=line.at - latest[cause] if cause else None,
        raw=json.dumps(line.detail, indent=2, ensure_ascii=False, sort_keys=True, default=str),
    )


def _fact(name: str, value: object, currency: str) -> tuple[str, str]:
    """Formats a field of the detail with its unit. The payload has it as it is stored."""
    if name == "by_name":
        return "by", str(value)
    suffix = next((each for each in UNITS if name.endswith(each)), None)
    if suffix is not None and isinstance(value, int):
        return words(name.removesuffix(suffix)), UNITS[suffix](value, currency)
    return words(name), words(str(value)) if name in WORDS else str(value)


UNITS: Mapping[str, Callable[[int, str], str]] = {
    "_minor": money,
    "_wh": lambda energy_wh, _: f"{kwh(energy_wh)} kWh",
    "_ms": lambda milliseconds, _: duration(milliseconds / 1000),
}
"""How a number is shown by the end of its field's name."""
