"""The closed list of faults of answers, webhooks and charge points."""

from dataclasses import field
from decimal import Decimal
from enum import StrEnum

from app.domain.units.frozen import frozen


class FaultKind(StrEnum):
    """What happens to one request at the HTTP layer."""

    REFUSED = "refused"
    """400, nothing done."""
    FORBIDDEN = "forbidden"
    """403, nothing done."""
    MISSING = "missing"
    """404, nothing done."""
    UNAVAILABLE = "unavailable"
    """503 with HTML from a gateway, nothing done."""
    UNREACHABLE = "unreachable"
    """No answer at all, nothing done; in process it surfaces as `Unreachable`."""
    THROTTLED = "throttled"
    """429, nothing done; `seconds` is RateLimit-ResetsIn."""
    REQUEST_LOST = "request_lost"
    """Nothing done; the connection ends within the answer."""
    ANSWER_LOST = "answer_lost"
    """Done; the connection ends within the answer."""
    FAILED_THOUGH_DONE = "failed_though_done"
    """Done; 502 with HTML from a gateway."""
    LATE_EFFECT = "late_effect"
    """504 with HTML at once; done `seconds` later."""
    SLOW = "slow"
    """Done at once; answered `seconds` later."""
    TWICE = "twice"
    """POST /charges makes two charges and answers with the first."""
    WRAPPED = "wrapped"
    """Answered wrapped as `{"charge": {...}}`."""
    WEBHOOK_FIRST = "webhook_first"
    """Done; its webhook is delivered before the answer."""


@frozen
class Fault:
    """One fault; `seconds` where its kind has a duration."""

    fault_kind: FaultKind
    seconds: float = 0.0


@frozen(kw_only=True)
class WebhookFaults:
    """How the deliveries about one charge point go wrong."""

    lost: bool = False
    late_s: float = 0.0
    copies: int = 1
    shuffled: bool = False


@frozen(kw_only=True)
class Misreport:
    """Wrong values in Monta's records of a charge point's charges. Seconds count from the charge's start."""

    clock_offset_s: float = 0.0
    """All times of the record are off by this much."""
    lifetime_reading: bool = False
    """The final record shows the meter's reading since it was built as the energy of the charge."""
    lifetime_while_running: bool = False
    """With `lifetime_reading`: the readings of the running charge do so too."""
    final_price: Decimal | None = None
    """The price of the final record, in major units; it may be negative."""
    currency: str | None = None
    """The currency of every record, as Monta writes it."""
    state_word: str | None = None
    """The state of every record from `state_word_after_s` on, permanently. One that says that the charge has ended
    shows only once it has."""
    state_word_after_s: float = 0.0
    gone_after_s: float | None = None
    """From then on the charge is answered with 404, is in no list and sends no webhook. Its power ends then."""


FOR_EVER = 1_000_000_000
"""For `stops_ignored`: a stop never works."""


@frozen(kw_only=True)
class PointFaults:
    """Faults of a charge point."""

    at_start: Fault | None = None
    throttled_starts: int = 0
    """This many POSTs get 429 before one succeeds; counted anew after each charge."""
    stops_ignored: int = 0
    """This many stops are answered 200 and bring the charge to `stopping` and back to `charging`."""
    stop_without_trace: bool = False
    """An ignored stop does not even show as `stopping`."""
    limits_ignored: bool = False
    meter_falls_at_sample: int = 0
    """The n-th reading shows less than the previous one (0: never)."""
    restarts_after_s: float | None = None
    """Another user restarts the first stopped charge this long after its stop."""
    price_waived: bool = False
    """The operator force-stops in Monta Hub, which removes the payment: completed with price 0."""
    fails_after_s: float | None = None
    """The charge ends stopped with failedAt and failureReason."""
    webhooks: WebhookFaults = field(default_factory=WebhookFaults)
    misreport: Misreport = field(default_factory=Misreport)
