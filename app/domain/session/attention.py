"""What a person should look at in a payment session: why, since when, and whether somebody has seen it."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class AttentionCode(StrEnum):
    """Why a person should look. Stored as plain text, so that code which does not know one yet keeps it as it is.

    Each says when it closes by itself; what is over and done only a person can acknowledge.
    """

    START_UNKNOWN = "start_unknown"
    """The start deadline has passed and nobody knows whether a charge was started; until that is known."""
    FOREIGN_CHARGE = "foreign_charge"
    """A charge with our reference that cannot be of this session (`about`: its id); acknowledged only."""
    DUPLICATE_CHARGE = "duplicate_charge"
    """A charge of ours that nobody pays for (`about`: its id); acknowledged only, for its energy may be unpaid."""
    STOP_UNCONFIRMED = "stop_unconfirmed"
    """Several stops without effect; until the charge has ended."""
    EXTRA_CHARGE_RUNS = "extra_charge_runs"
    """Several stops of a charge that nobody pays for had no effect (`about`: its id); until it has ended."""
    CHARGE_LOST = "charge_lost"
    """Monta never brings the charge to an end, so it counts as ended; until Monta does, or the session is settled."""
    NOT_COMPLETED = "not_completed"
    """The charge has ended and Monta does not complete it; until it does, or the session is settled."""
    OTHER_CURRENCY = "other_currency"
    """The charge runs in another currency than the hold; until Monta shows the hold's."""
    FINAL_RECORD_HELD = "final_record_held"
    """The final record cannot be billed as it stands; until it can, or the session is settled."""
    HOLD_EXPIRING = "hold_expiring"
    """The hold is about to expire and nothing is settled; until it is."""
    SETTLED_UNFINISHED = "settled_unfinished"
    """Settled by what was known, since the final record did not come; until it came."""
    RAN_ON = "ran_on"
    """Settled while the charge ran on, since no stop ended it; until it has ended."""
    SETTLED_LATE = "settled_late"
    """Settled after the hold had expired; until the PSP did what was settled."""
    IMPOSSIBLE_READING = "impossible_reading"
    """Monta's record of a running charge shows energy or a price that cannot be; until it shows one that can."""
    NEGATIVE_PRICE = "negative_price"
    """Released for a final price below nothing, where the tariff has the driver pay; acknowledged only."""
    PRICE_ABOVE_TARIFF = "price_above_tariff"
    """Billed above what the tariff allows; acknowledged only."""
    SHORTFALL = "shortfall"
    """The charge cost more than was authorized; acknowledged only."""
    RECORD_CHANGED = "record_changed"
    """Monta's record says something else than was settled by; until it agrees again."""
    RECORD_GONE = "record_gone"
    """Monta no longer has the record of a charge that was settled; until it has."""
    CAPTURE_DIFFERS = "capture_differs"
    """The PSP did not do what was settled; until it did."""
    REPORTED_LATE = "reported_late"
    """The PSP's report came after the hold had expired; until all is done as it was settled."""
    CAPTURE_OVERDUE = "capture_overdue"
    """Nobody has told what became of the settlement; until somebody does."""
    OTHER = "other"
    """Raised without a code of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """Somebody has seen it: `by` names the key or the command line."""

    at: datetime
    by: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
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
"""Of one session. Whoever sees fifty need not see the fifty-first."""


def raised(items: tuple[Attention, ...], item: Attention) -> tuple[Attention, ...]:
    """With one more, unless the same stands already, acknowledged or not."""
    if len(items) >= MAX_ITEMS or any((i.code, i.about) == (item.code, item.about) for i in items):
        return items
    return (*items, item)


def acknowledged(items: tuple[Attention, ...], code: str, seen: Acknowledgement) -> tuple[Attention, ...]:
    """All of this code that nobody has acknowledged are now; what was acknowledged before keeps its note."""
    return tuple(
        replace(item, acknowledged=seen) if item.code == code and item.acknowledged is None else item
        for item in items
    )


def needs_attention(items: tuple[Attention, ...]) -> bool:
    """Whether there is any that nobody has acknowledged."""
    return any(item.acknowledged is None for item in items)


def stamped(items: tuple[Attention, ...], now: datetime) -> tuple[Attention, ...]:
    """Those that were raised in the change which is being saved bear its time."""
    return tuple(replace(item, since=now) if item.since is None else item for item in items)
