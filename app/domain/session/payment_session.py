"""The payment session: one authorization, its charge and their outcome."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from app.domain.charging.charge import ENDED, Charge, ChargeReport, ChargeState
from app.domain.limit.meter import MeterHistory
from app.domain.limit.monta_limits import MontaLimits
from app.domain.limit.profile import ChargePointProfile
from app.domain.session.attention import Attention, needs_attention
from app.domain.session.settlement import Settlement
from app.domain.session.states.journal import JournalHead
from app.domain.tariff import Tariff
from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargeId, ChargePointId, OperatorId, SessionId, TerminalId


class Status(StrEnum):
    """The session's status, as terminals see it; never goes back (see `machine`)."""

    AUTHORIZED = "authorized"
    STARTING = "starting"
    CHARGING = "charging"
    STOPPING = "stopping"
    FINISHING = "finishing"
    COMPLETED = "completed"
    NOT_STARTED = "not_started"


ENDED_STATUSES = frozenset({Status.COMPLETED, Status.NOT_STARTED})


class StopReason(StrEnum):
    LIMIT_REACHED = "limit_reached"
    DRIVER = "driver"
    OPERATIONS = "operations"
    HOLD_EXPIRING = "hold_expiring"
    VEHICLE_OR_CHARGE_POINT = "vehicle_or_charge_point"
    LATE_START = "late_start"


class NotStartedReason(StrEnum):
    REFUSED = "refused"
    START_TIMEOUT = "start_timeout"
    CANCELED = "canceled"


class StartOutcome(StrEnum):
    """What is known of our last POST /charges."""

    NOT_DONE = "not_done"
    """Never sent, or Monta certainly did nothing: may be sent (again)."""
    UNKNOWN = "unknown"
    """The intent is committed without a certain answer: only a search can resolve it."""
    REFUSED = "refused"
    ACCEPTED = "accepted"


@frozen(kw_only=True)
class Card:
    """The card's receipt details and an opaque token. Never a card number."""

    brand: str | None = None
    last4: str | None = None
    fingerprint: str | None = None
    account_reference: str | None = None
    """The PSP's payment account reference (PAR): the same person by card and by phone."""


@frozen(kw_only=True)
class HoldChange:
    """A hold that the PSP raised or lowered in place (incremental authorization)."""

    amount_minor: int
    """Its total since."""
    expires_at: datetime | None
    """Until when it is valid since, as the terminal said."""
    count: int
    """How often it was changed so far."""


@frozen(kw_only=True)
class Held:
    """A hold as it was reported first, and what the PSP made of it since. Amounts in minor units."""

    reference: str
    amount_minor: int
    expires_at: datetime | None = None
    change: HoldChange | None = None

    @property
    def present_minor(self) -> int:
        return self.amount_minor if self.change is None else self.change.amount_minor

    @property
    def ends_at(self) -> datetime | None:
        """Until when it is valid, as the terminal said last."""
        return self.expires_at if self.change is None else self.change.expires_at


@frozen(kw_only=True)
class Authorization(Held):
    """The hold on the driver's card, in `currency` (ISO 4217)."""

    currency: str
    authorized_at: datetime | None = None
    card: Card = field(default_factory=Card)


@frozen(kw_only=True)
class TopUp(Held):
    """One more hold on the same charge, in the currency of the first one."""

    at: datetime
    """When it was recorded; the hold's validity counts from here without `expires_at`."""


@frozen(kw_only=True)
class Start:
    """Our attempts to start the charge."""

    deadline: datetime
    """Without energy by then: stop, make sure that nothing runs, release."""
    outcome: StartOutcome = StartOutcome.NOT_DONE
    posts: int = 0
    intent_at: datetime | None = None
    """When the intent of the last POST was committed. The POST was sent within the send guard of it, or never."""
    retry_at: datetime | None = None
    """The earliest next attempt (rate limit, connection refused)."""
    not_done: int = 0
    """POSTs that certainly had no effect (refused connection, rate limit). They do not count as posts."""
    refusal: str | None = None
    ambiguous_at: datetime | None = None
    """The last POST with an unknown effect: duplicate charges may appear for a while after it."""
    searches: int = 0
    searched_at: datetime | None = None
    empty_at: datetime | None = None
    """The last complete search that found no charge of ours."""
    elsewhere: bool = False
    """A search found a charge with our reference that cannot be ours: no further POST, it might end there too."""
    monta_ahead_s: int = 0
    """Monta's clock minus ours, as far as our charge proves it. 0: they agree, or nothing is known."""


class Lost(StrEnum):
    """Why a charge counts as ended though Monta's record never said so."""

    GONE = "gone"
    """Monta answers 404, again and again."""
    STALLED = "stalled"
    """Monta answers our stops, and nothing of the charge changes."""
    UNREADABLE = "unreadable"
    """A webhook reported its end, and Monta refuses to show its record."""


@frozen(kw_only=True)
class Stop:
    """Our decision to stop, repeated until Monta confirms that no energy flows."""

    reason: StopReason
    decided_at: datetime
    attempts: int = 0
    next_at: datetime | None = None
    confirmed_at: datetime | None = None


@frozen(kw_only=True)
class StopRequest:
    """A stop requested by terminal, card or operations. Carried out once the start is resolved."""

    reason: StopReason
    at: datetime
    note: str | None = None


@frozen(kw_only=True)
class DuplicateCharge:
    """A charge of ours that this session does not pay for. It is stopped at once and never captured."""

    id: ChargeId
    state: ChargeState
    found_at: datetime
    seen_at: datetime
    attempts: int = 0
    next_at: datetime | None = None
    missing: "Refusals | None" = None
    """Stops answered with 404, without any sign of the charge since."""
    over_at: datetime | None = None
    """When stops ended: Monta answers 404, or no stop worked for too long. A new report reopens it."""

    gives_on: bool = False
    """Its energy rose though its state says ended; until a stop was answered."""

    @property
    def live(self) -> bool:
        """Whether it must still be stopped."""
        return self.over_at is None and (self.gives_on or self.state not in ENDED)


@frozen(kw_only=True)
class Refusals:
    """Answers of one kind in a row, by our own clock."""

    count: int
    since: datetime


@frozen(kw_only=True)
class Standstill:
    """Since when the charge has not changed, and our stops since. By our clock."""

    state: ChargeState
    energy_wh: int
    since: datetime
    stops: int = 0
    answers: int = 0
    """Stops that Monta certainly answered, be it by a refusal."""


@frozen(kw_only=True)
class Reads:
    """State of our own reads of the charge. Its changes are not visible outside."""

    attempted_at: datetime | None = None
    failures: int = 0
    not_before: datetime | None = None
    polls: int = 0
    """Reads since the charge ended; the final record is polled at growing intervals."""
    idle_reads: int = 0
    """Consecutive reads that showed an ended charge without any energy."""
    sweep_asked_at: datetime | None = None
    """When the operator's sweep was last requested for this charge."""
    search_failures: int = 0
    """Searches in a row without an answer."""
    missing: Refusals | None = None
    """Reads and stops answered with 404, without any sign of the charge since."""
    refused: Refusals | None = None
    """Refused reads in a row."""
    still: Standstill | None = None
    contradicted_at: datetime | None = None
    """The time of a webhook that contradicts the ended session: the record is read until it is as new."""
    rechecks: int = 0
    """Reads since the session ended."""


@frozen(kw_only=True)
class PaymentSession:
    """One row: what was asked, what is known, what was decided. Amounts in minor units, energy in watt-hours."""

    id: SessionId
    operator_id: OperatorId
    terminal_id: TerminalId
    charge_point_id: ChargePointId
    display_reference: str
    authorization: Authorization
    created_at: datetime
    start: Start
    power_bound_w: int | None = None
    """The charge point's rated power; None: Monta was not asked yet."""
    observed_max_w: int = 0
    """The highest average power between two readings of this charge: a rating may be wrong."""
    profile: ChargePointProfile | None = None
    """The charge point's profile when the session began; None: not loaded yet."""
    meter_history: MeterHistory = field(default_factory=MeterHistory)
    """The last readings of the meter, and what they show."""
    monta_limits: MontaLimits | None = None
    """The limits sent to Monta; None: the charge was not started yet."""
    energy_limit_wh: int | None = None
    """The driver's own limit, when there is one."""
    soc_limit: int | None = None
    """The battery's charge in percent at which the driver wants to stop; only Monta sees it."""
    tariff: Tariff | None = None
    tariff_source: str | None = None
    tariff_gaps: tuple[str, ...] = ()
    """What the converted tariff leaves out of Monta's price group, in words."""
    learned_kwh_price: Decimal | None = None
    """Without a tariff: the recent price a kWh here, in major units. An estimate."""
    top_ups: tuple[TopUp, ...] = ()
    top_up_max_minor: int | None = None
    """The most that the authorization may reach, by the operator's policy. Monta's own limits start there."""
    hold_max_minor: int | None = None
    """The most that all its holds together may come to, by the operator's policy."""
    hold_days: int | None = None
    """How long a hold without `expires_at` is good, by the operator's policy for the card's scheme."""
    least_capture_minor: int = 0
    """The operator's least capture: a lower final price is released."""
    least_energy_wh: int = 0
    """The operator's least energy: the price of less is released."""
    time_zone: str = "UTC"
    metadata: Mapping[str, str] = field(default_factory=dict)
    status: Status = Status.AUTHORIZED
    version: int = 1
    updated_at: datetime
    charge: Charge | None = None
    charge_ended_at: datetime | None = None
    """When the charge was first known to have ended, by our own clock. None: it runs, or runs again."""
    lost: Lost | None = None
    """Why the charge counts as ended without Monta's word; None: it does not."""
    point_free_at: datetime | None = None
    """From then on no charge of this session can run at its charge point. Never taken back."""
    stop_request: StopRequest | None = None
    stop: Stop | None = None
    stop_reason: StopReason | None = None
    not_started_reason: NotStartedReason | None = None
    duplicates: tuple[DuplicateCharge, ...] = ()
    attention: tuple[Attention, ...] = ()
    """Why operations should look, oldest first, acknowledged items included."""
    settlement: Settlement | None = None
    settled_record: ChargeReport | None = None
    """Monta's final record as it was when the session was settled. None: there was none yet."""
    watch_until: datetime | None = None
    """Until when Monta is searched for duplicate charges, also after the end."""
    reads: Reads = field(default_factory=Reads)
    odd_times: tuple[str, ...] = ()
    """Impossible times of its charge, as Monta gave them; each is journaled once."""
    taken_charges: tuple[ChargeId, ...] = ()
    """Charges with our reference whose ids are other sessions' charges. They are never adopted."""
    journal: JournalHead = field(default_factory=JournalHead)
    """Where the next journal line is linked to; written with the lines, under the row's lock."""
    traceparent: str | None = None
    """The trace that began with the terminal's call (W3C); None: it was not traced."""
    beside: int | None = None
    """How many readings it includes that are kept beside its row, until it is saved; None: none can be."""

    @property
    def ended(self) -> bool:
        return self.status in ENDED_STATUSES

    @property
    def needs_attention(self) -> bool:
        """Whether any attention is not acknowledged."""
        return needs_attention(self.attention)

    @property
    def occupies_charge_point(self) -> bool:
        """Whether another payment must wait for this one; once False, for ever."""
        return not self.ended and self.point_free_at is None

    @property
    def awaits_sweep_since(self) -> datetime | None:
        """When it requested a sweep that is still outstanding; None: it did not."""
        asked_at, charge = self.reads.sweep_asked_at, self.charge
        if asked_at is None or charge is None or charge.ended or charge.seen_at >= asked_at:
            return None
        attempted_at = self.reads.attempted_at
        return asked_at if attempted_at is None or attempted_at < asked_at else None

    @property
    def authorized_minor(self) -> int:
        """The sum of all holds, as they are now."""
        return self.authorization.present_minor + sum(t.present_minor for t in self.top_ups)

    @property
    def energy_wh(self) -> int:
        return self.charge.energy_wh if self.charge else 0


@frozen(kw_only=True)
class PaymentAuthorized:
    """A terminal's report: an amount is held for a charge here."""

    charge_point_id: ChargePointId
    authorization: Authorization
    display_reference: str | None = None
    energy_limit_wh: int | None = None
    soc_limit: int | None = None
    tariff: Tariff | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str | None = None

    def fingerprint(self) -> bytes:
        """Equal for the same contents, whatever their order or spelling.

        Ignores the Idempotency-Key and times, which a terminal may set anew when it repeats a call.
        """
        held = self.authorization
        contents = {
            "charge_point_id": self.charge_point_id,
            "authorization": [
                held.reference,
                held.amount_minor,
                held.currency,
                held.card.brand,
                held.card.last4,
                held.card.fingerprint,
                held.card.account_reference,
            ],
            "display_reference": self.display_reference,
            "energy_limit_wh": self.energy_limit_wh,
            "tariff": self.tariff.source if self.tariff else None,
            "metadata": dict(self.metadata),
        } | ({} if self.soc_limit is None else {"soc_limit": self.soc_limit})
        return hashlib.sha256(json.dumps(contents, sort_keys=True, default=str).encode()).digest()
