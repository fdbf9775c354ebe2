"""Attention items: what operations should look at in a session. Since when, and who has seen it."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from app.domain.units.frozen import frozen, replace


class AttentionCode(StrEnum):
    """Why operations should look; `CODES` has the words. Stored as plain text, so that an unknown code can be read."""

    START_UNKNOWN = "start_unknown"
    FOREIGN_CHARGE = "foreign_charge"
    DUPLICATE_CHARGE = "duplicate_charge"
    STOP_UNCONFIRMED = "stop_unconfirmed"
    DUPLICATE_CHARGE_RUNS = "duplicate_charge_runs"
    CHARGE_LOST = "charge_lost"
    NOT_COMPLETED = "not_completed"
    OTHER_CURRENCY = "other_currency"
    IMPOSSIBLE_READING = "impossible_reading"
    FINAL_RECORD_HELD = "final_record_held"
    HOLD_EXPIRING = "hold_expiring"
    SETTLED_UNFINISHED = "settled_unfinished"
    RAN_ON = "ran_on"
    SETTLED_LATE = "settled_late"
    NEGATIVE_PRICE = "negative_price"
    PRICE_ABOVE_TARIFF = "price_above_tariff"
    SHORTFALL = "shortfall"
    RECORD_CHANGED = "record_changed"
    RECORD_GONE = "record_gone"
    CAPTURE_FAILED = "capture_failed"
    CAPTURE_DIFFERS = "capture_differs"
    REPORTED_LATE = "reported_late"
    CAPTURE_OVERDUE = "capture_overdue"
    SEAL_DOES_NOT_FIT = "seal_does_not_fit"


class Severity(StrEnum):
    """How soon operations should act."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


SEVERITIES: Mapping[Severity, str] = {
    Severity.CRITICAL: "Act now: energy flows that is not paid for, or money is lost when a hold expires.",
    Severity.WARNING: "Act the same day: an amount, a charge or a charge point waits for a decision or a repair.",
    Severity.INFO: "Look at it in the next review: nothing gets worse by waiting.",
}


BY_HAND = "only by acknowledging it"
"""What has happened cannot be undone, so no later fact closes these items."""


@frozen
class CodeRow:
    """One attention code in words. What is wrong, what operations do about it, and what closes the item."""

    severity: Severity
    meaning: str
    action: str
    closes: str


_C, _CRITICAL, _WARNING, _INFO = AttentionCode, Severity.CRITICAL, Severity.WARNING, Severity.INFO

CODES: Mapping[AttentionCode, CodeRow] = {
    _C.START_UNKNOWN: CodeRow(
        _WARNING,
        "The start deadline has passed, and it is not known whether Monta started a charge.",
        "Search the charge point's charges at Monta; stop one that runs. Close the session when there is none.",
        "when a search or a report resolves the start, or the session ends",
    ),
    _C.FOREIGN_CHARGE: CodeRow(
        _WARNING,
        "A charge carries our reference but belongs to another session or charge point; it is left alone.",
        "Compare both records at Monta, and find out who sets the reference.",
        BY_HAND,
    ),
    _C.DUPLICATE_CHARGE: CodeRow(
        _WARNING,
        "Monta has a second charge for this session; it is stopped and never captured.",
        "See that it has ended, and decide who pays for its energy.",
        BY_HAND,
    ),
    _C.STOP_UNCONFIRMED: CodeRow(
        _CRITICAL,
        "Several stops had no effect: the charge still runs.",
        "Stop it in Monta's portal or at the charge point; energy beyond the holds is not paid for.",
        "when the charge has ended",
    ),
    _C.DUPLICATE_CHARGE_RUNS: CodeRow(
        _CRITICAL,
        "Several stops of a duplicate charge had no effect: it still runs, and no hold pays for it.",
        "Stop it in Monta's portal or at the charge point.",
        "when that charge has ended",
    ),
    _C.CHARGE_LOST: CodeRow(
        _WARNING,
        "Monta does not bring the charge to an end, so it counts as ended.",
        "Ask Monta for the record; settle the session by hand before its hold expires.",
        "when Monta shows the end of the charge, or the session is settled",
    ),
    _C.NOT_COMPLETED: CodeRow(
        _WARNING,
        "The charge has ended, but Monta does not complete its record.",
        "Ask Monta; settle the session by hand when the amount is known.",
        "when the record is completed, or the session is settled",
    ),
    _C.OTHER_CURRENCY: CodeRow(
        _WARNING,
        "The charge runs in another currency than the hold; it is stopped.",
        "Correct the terminal's or the charge point's currency; settle the session by hand.",
        "when Monta shows the hold's currency, or operations settle it",
    ),
    _C.IMPOSSIBLE_READING: CodeRow(
        _WARNING,
        "The record of a running charge shows an energy or a price that is not possible.",
        "Check the charge point's meter and price group at Monta.",
        "when the record shows a possible value, or the session ends",
    ),
    _C.FINAL_RECORD_HELD: CodeRow(
        _WARNING,
        "The final record cannot be billed as it stands.",
        "Check energy and price at Monta; settle the session by hand.",
        "when the record can be billed, or the session is settled",
    ),
    _C.HOLD_EXPIRING: CodeRow(
        _CRITICAL,
        "The hold is about to expire, and the session is not settled.",
        "Settle or close the session by hand now.",
        "when the session ends",
    ),
    _C.SETTLED_UNFINISHED: CodeRow(
        _INFO,
        "Settled by what was known, since the final record did not come in time.",
        "Compare with the final record when it comes.",
        "when the final record comes",
    ),
    _C.RAN_ON: CodeRow(
        _CRITICAL,
        "Settled while the charge still ran, since no stop ended it.",
        "Stop it in Monta's portal or at the charge point.",
        "when the charge has ended",
    ),
    _C.SETTLED_LATE: CodeRow(
        _CRITICAL,
        "Settled after the hold had expired: the PSP may refuse the capture.",
        "See that the terminal captures now; recover the amount otherwise if the PSP refuses.",
        "when the PSP has done what was settled",
    ),
    _C.NEGATIVE_PRICE: CodeRow(
        _WARNING,
        "The final price is below zero where the tariff has the driver pay; the hold was released.",
        "Check the price group at Monta; the energy may be unpaid.",
        BY_HAND,
    ),
    _C.PRICE_ABOVE_TARIFF: CodeRow(
        _WARNING,
        "Billed by Monta's final price, which is above what the tariff allows.",
        "Compare the tariff with Monta's price group; refund the driver if Monta is wrong.",
        BY_HAND,
    ),
    _C.SHORTFALL: CodeRow(
        _WARNING,
        "The charge cost more than was authorized; the difference is not paid.",
        "Look at the journal's cause: a late stop, a fee after the stop, or a limit that Monta missed.",
        BY_HAND,
    ),
    _C.RECORD_CHANGED: CodeRow(
        _WARNING,
        "Monta's record differs from what the session was settled by.",
        "Refund or claim the difference; nothing is captured again by itself.",
        "when the record agrees again",
    ),
    _C.RECORD_GONE: CodeRow(
        _INFO,
        "Monta no longer has the record of a charge that was settled.",
        "Ask Monta whether the charge was deleted, and by whom.",
        "when Monta shows the record again",
    ),
    _C.CAPTURE_FAILED: CodeRow(
        _WARNING,
        "The PSP refused the capture. The terminal tries again as long as `retry_at` of the settlement says when.",
        "See why the PSP refuses. Without `retry_at` capture it there before the hold expires, and report it.",
        "when the amount is captured",
    ),
    _C.CAPTURE_DIFFERS: CodeRow(
        _CRITICAL,
        "The PSP did something else than was settled, or refused the capture for the last time.",
        "Compare with the PSP's records; capture, release or refund there, and report it.",
        "when the reports add up to what was settled",
    ),
    _C.REPORTED_LATE: CodeRow(
        _INFO,
        "The capture was reported after the hold had expired.",
        "See in the PSP's records that the capture was accepted.",
        BY_HAND,
    ),
    _C.CAPTURE_OVERDUE: CodeRow(
        _CRITICAL,
        "The terminal has not reported a capture result, and half of the time until the hold expires is over.",
        "See whether the terminal is online and what the PSP did; report it by API or command line.",
        "when the result is reported as a whole",
    ),
    _C.SEAL_DOES_NOT_FIT: CodeRow(
        _CRITICAL,
        "The settled session is not as it was sealed, or by no key known here: its rows were changed, not by Tapwatt.",
        "Keep its evidence and a backup; compare amounts with Monta's and the PSP's records; find who could write.",
        BY_HAND,
    ),
}


UNKNOWN = CodeRow(
    Severity.WARNING,
    "This version of the service does not know the code.",
    "Look at the session's journal; update this replica if others are newer.",
    BY_HAND,
)
"""Stands for a code of a newer version."""


def row_of(code: str) -> CodeRow:
    """The row of a stored code."""
    return CODES[AttentionCode(code)] if code in set(AttentionCode) else UNKNOWN


@frozen(kw_only=True)
class Acknowledgement:
    """An acknowledgement: `by` names the key or the command line."""

    at: datetime
    by: str
    note: str


@frozen(kw_only=True)
class Attention:
    """One reason to look; `code` and `about` are its identity while it stands."""

    code: str
    detail: str
    about: str = ""
    """Which of several causes of one code: a charge's id, a price."""
    since: datetime | None = None
    """The time of the change that raised it; set when that is saved."""
    acknowledged: Acknowledgement | None = None


MAX_ITEMS = 50
"""Of one session; further items are dropped."""


def raised(items: tuple[Attention, ...], item: Attention) -> tuple[Attention, ...]:
    """Adds an item, unless the same stands already, acknowledged or not."""
    if len(items) >= MAX_ITEMS or any((i.code, i.about) == (item.code, item.about) for i in items):
        return items
    return (*items, item)


def acknowledged(items: tuple[Attention, ...], code: str, seen: Acknowledgement) -> tuple[Attention, ...]:
    """Acknowledges all open items of this code; earlier acknowledgements keep their note."""
    return tuple(
        replace(item, acknowledged=seen) if item.code == code and item.acknowledged is None else item
        for item in items
    )


def needs_attention(items: tuple[Attention, ...]) -> bool:
    """Whether any item is not acknowledged."""
    return any(item.acknowledged is None for item in items)


def stamped(items: tuple[Attention, ...], now: datetime) -> tuple[Attention, ...]:
    """Sets the time of items that the change being saved raised."""
    return tuple(replace(item, since=now) if item.since is None else item for item in items)
