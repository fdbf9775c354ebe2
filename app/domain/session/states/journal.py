"""The kinds of journal lines, their details' keys, and the chain's end."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from app.domain.units.frozen import frozen


class JournalKind(StrEnum):
    """What a journal line records. Stored as plain text, so that an unknown kind of another release can be read."""

    PAYMENT_AUTHORIZED = "payment_authorized"
    TOPPED_UP = "topped_up"
    HOLD_CHANGED = "hold_changed"
    STOP_REQUESTED = "stop_requested"
    STATUS_CHANGED = "status_changed"

    START_INTENDED = "start_intended"
    START_ACCEPTED = "start_accepted"
    START_REFUSED = "start_refused"
    START_NOT_DONE = "start_not_done"
    START_UNKNOWN = "start_unknown"
    SEARCHED = "searched"
    SEARCH_FAILED = "search_failed"

    CHARGE_ADOPTED = "charge_adopted"
    CHARGE_REPORTED = "charge_reported"
    CHARGE_RESTARTED = "charge_restarted"
    CHARGE_LOST = "charge_lost"
    CHARGE_POINT_FREE = "charge_point_free"
    READ_FAILED = "read_failed"
    READ_CUT_SHORT = "read_cut_short"

    METER_RAN_BACKWARDS = "meter_ran_backwards"
    IMPOSSIBLE_READING_LEFT_OUT = "impossible_reading_left_out"
    IMPOSSIBLE_TIME_LEFT_OUT = "impossible_time_left_out"
    MONTA_CLOCK_DIFFERS = "monta_clock_differs"
    PRICE_ABOVE_TARIFF = "price_above_tariff"
    PRICE_ABOVE_AUTHORIZATION = "price_above_authorization"
    LIMITS_DIFFER = "limits_differ"
    MONTAS_LIMIT_PASSED = "montas_limit_passed"
    STOPPED_BY_MONTAS_LIMIT = "stopped_by_montas_limit"

    STOP_DECIDED = "stop_decided"
    STOP_INTENDED = "stop_intended"
    STOP_ACCEPTED = "stop_accepted"
    STOP_FAILED = "stop_failed"

    DUPLICATE_CHARGE_FOUND = "duplicate_charge_found"
    DUPLICATE_CHARGE_STOP_INTENDED = "duplicate_charge_stop_intended"
    DUPLICATE_CHARGE_STOP_ACCEPTED = "duplicate_charge_stop_accepted"
    DUPLICATE_CHARGE_STOP_FAILED = "duplicate_charge_stop_failed"

    SETTLEMENT_DECIDED = "settlement_decided"
    NEGATIVE_PRICE = "negative_price"
    BELOW_LEAST = "below_least"
    SHORTFALL = "shortfall"
    AMOUNT_DECIDED = "amount_decided"
    CLOSED_BY_OPERATIONS = "closed_by_operations"
    CAPTURE_REPORTED = "capture_reported"

    PERSON_ERASED = "person_erased"

    ATTENTION_NEEDED = "attention_needed"
    ATTENTION_ENDED = "attention_ended"
    ATTENTION_ACKNOWLEDGED = "attention_acknowledged"


@frozen(kw_only=True)
class Seal:
    """A signature of a settled session up to this line (`app/domain/evidence/seal.py`), in hex."""

    key_id: str
    at: datetime
    signature: str


@frozen(kw_only=True)
class JournalHead:
    """The end of a session's hash chain. How many lines it has, and the last line's hash in hex."""

    lines: int = 0
    hash: str = ""
    seal: Seal | None = None
    """From the settlement on."""


@frozen
class KindRow:
    """What a kind of line records, and its detail's keys."""

    records: str
    detail: str = ""


K = JournalKind

KINDS: Mapping[JournalKind, KindRow] = {
    K.PAYMENT_AUTHORIZED: KindRow(
        "The terminal reported a hold; the session was recorded.",
        "reference, amount_minor, currency, tariff, request",
    ),
    K.TOPPED_UP: KindRow(
        "The terminal reported one more hold; the limit was raised.",
        "reference, amount_minor, authorized_minor, monta_price_limit_minor, usable_minor",
    ),
    K.HOLD_CHANGED: KindRow(
        "The terminal reported that the PSP raised or lowered a hold in place; the limit moved.",
        "reference, amount_minor, before_minor, expires_at, authorized_minor, monta_price_limit_minor, usable_minor",
    ),
    K.STOP_REQUESTED: KindRow("The driver or operations requested a stop.", "reason, note"),
    K.STATUS_CHANGED: KindRow("A command led to another status.", "old, new, command"),
    K.START_INTENDED: KindRow(
        "The intent of a POST /charges was committed; the POST follows within the send guard.",
        "phase, post, price_limit, kwh_limit, soc_limit, tariff, idle_fee_reserve_minor, tariff_gaps, guarded_by,"
        " learned_kwh_price",
    ),
    K.START_ACCEPTED: KindRow("Monta answered the start with a charge.", "charge_id, state"),
    K.START_REFUSED: KindRow("Monta certainly refused the start; no other POST follows.", "why"),
    K.START_NOT_DONE: KindRow("The POST certainly had no effect; it is retried after a backoff.", "why"),
    K.START_UNKNOWN: KindRow(
        "No certain answer to the POST came; a charge may exist and is searched for.", "why"
    ),
    K.SEARCHED: KindRow(
        "Monta answered a search for charges with our reference, before one was adopted.", "found"
    ),
    K.SEARCH_FAILED: KindRow("A search brought no answer; it is retried after a backoff.", "why"),
    K.CHARGE_ADOPTED: KindRow(
        "The first charge with our reference became the session's charge.", "charge_id, state"
    ),
    K.CHARGE_REPORTED: KindRow(
        "Monta reported another state or energy of the charge; or several readings (`readings`), of which this is the"
        " newest.",
        "state, energy_wh, price",
    ),
    K.CHARGE_RESTARTED: KindRow("A charge that had ended runs again; it is stopped.", "charge_id"),
    K.CHARGE_LOST: KindRow(
        "Reads or stops cannot bring the charge to an end; from now on it counts as ended.", "why"
    ),
    K.CHARGE_POINT_FREE: KindRow(
        "No charge of this session can run there any more; the next payment may start.", "state"
    ),
    K.READ_FAILED: KindRow("A read of the charge brought no record; it is retried after a backoff.", "why"),
    K.READ_CUT_SHORT: KindRow("A read was canceled for a stop that fell due.", "why"),
    K.METER_RAN_BACKWARDS: KindRow(
        "A newer report shows less energy; the larger value is kept.", "reported_wh, kept_wh"
    ),
    K.IMPOSSIBLE_READING_LEFT_OUT: KindRow(
        "An energy or a price that is not possible was set aside.", "reported_wh, reported_price, why"
    ),
    K.IMPOSSIBLE_TIME_LEFT_OUT: KindRow(
        "Times that are not possible were left out or clamped.", "charge_id, times"
    ),
    K.MONTA_CLOCK_DIFFERS: KindRow(
        "The charge's times prove that Monta's clock differs from ours.", "ahead_s, charge_id"
    ),
    K.PRICE_ABOVE_TARIFF: KindRow(
        "Monta's running price rose above what the tariff allows; the plan counts with Monta's price.",
        "price, most_by_tariff",
    ),
    K.PRICE_ABOVE_AUTHORIZATION: KindRow(
        "Monta's running price rose above the holds.", "price, authorized_minor"
    ),
    K.LIMITS_DIFFER: KindRow(
        "Monta shows other limits than it was asked for.",
        "sent_kwh, sent_price, shown_kwh, shown_price, still_limits",
    ),
    K.MONTAS_LIMIT_PASSED: KindRow(
        "The charge runs on beyond the limit that Monta shows.", "price, price_limit, energy_wh, kwh_limit"
    ),
    K.STOPPED_BY_MONTAS_LIMIT: KindRow(
        "Monta ended the charge at one of its limits.", "after_our_stop, energy_wh"
    ),
    K.STOP_DECIDED: KindRow(
        "The decision to stop, once, with what it rests on.",
        "reason, basis, power_bound, power_w, latency_ms, latency_learned, reading_age_ms, energy_wh",
    ),
    K.STOP_INTENDED: KindRow(
        "The intent of a stop was committed; the call follows.", "phase, attempt, reason"
    ),
    K.STOP_ACCEPTED: KindRow(
        "Monta answered the stop with 2xx; that does not prove that it worked.", "charge_id, state"
    ),
    K.STOP_FAILED: KindRow("A stop was refused or not answered; it is retried.", "why"),
    K.DUPLICATE_CHARGE_FOUND: KindRow(
        "A charge of ours that this session does not pay for; it is stopped and never captured.",
        "charge_id, state",
    ),
    K.DUPLICATE_CHARGE_STOP_INTENDED: KindRow(
        "The intent of a duplicate charge's stop was committed.", "charge_id"
    ),
    K.DUPLICATE_CHARGE_STOP_ACCEPTED: KindRow(
        "Monta answered a duplicate charge's stop with 2xx.", "charge_id, state"
    ),
    K.DUPLICATE_CHARGE_STOP_FAILED: KindRow(
        "A duplicate charge's stop was refused or not answered.", "charge_id, why"
    ),
    K.SETTLEMENT_DECIDED: KindRow(
        "What the terminal must capture and release.",
        "phase, action, to_capture_minor, to_release_minor, shortfall_minor, energy_wh, basis, price, settlement",
    ),
    K.NEGATIVE_PRICE: KindRow("Monta's final price is below zero; the holds are released.", "price"),
    K.BELOW_LEAST: KindRow(
        "The final price or energy is below the operator's least: released.", "price_minor"
    ),
    K.SHORTFALL: KindRow("The charge cost more than was authorized; its likeliest cause.", "cause"),
    K.AMOUNT_DECIDED: KindRow("Operations decided the amount of an ended charge.", "amount_minor, reason"),
    K.CLOSED_BY_OPERATIONS: KindRow(
        "Operations ended the session, in whatever status it was.", "amount_minor, reason, status"
    ),
    K.CAPTURE_REPORTED: KindRow(
        "The terminal reported what the PSP did.",
        "outcome, amount_minor, reference, authorization_reference, retryable, status, retry_at",
    ),
    K.PERSON_ERASED: KindRow("Card and metadata were erased, on request or by their age."),
    K.ATTENTION_NEEDED: KindRow("A reason for operations to look was raised.", "code, why"),
    K.ATTENTION_ENDED: KindRow("The cause is gone; the attention item was closed.", "code, why"),
    K.ATTENTION_ACKNOWLEDGED: KindRow("Operations acknowledged all items of a code.", "code, by, note"),
}
"""In the order in which a session meets them. The reference page is generated from it."""
