"""Verifies and reads webhook deliveries. An invalid entry does not affect the others."""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Set
from datetime import datetime
from itertools import pairwise

import msgspec

from app.domain.charging.charge import ChargeReport, PriceUnit
from app.domain.charging.charge_point import ChargePointReport
from app.domain.units.frozen import frozen, replace
from app.domain.units.ids import ChargePointId
from app.monta.fields import Fields, id_of
from app.monta.objects import (
    CHARGE_FIELDS,
    POINT_FIELDS,
    ChargeRead,
    UnreadableCharge,
    read_charge,
    read_charge_point,
    reported_fields_of_charge_point,
)
from app.strict_json import (
    Ambiguous,
    BadJson,
    JsonIn,
    Storable,
    TooDeep,
    clean_text,
    load_unambiguous,
    storable,
)


def minify(body: bytes) -> bytes:
    """Removes white space between JSON tokens. Strings and the spelling of numbers are unchanged, as is what is no
    JSON, or nested too deeply. A millisecond for each MiB, since this runs before the sender is verified."""
    try:
        return msgspec.json.format(body, indent=-1)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return body


def signature_is_valid(secret: str, body: bytes, header: str | None) -> bool:
    """Whether `header` (X-Monta-Signature, `sha1=<hex>`) signs `body`.

    Monta's two published examples differ in what they sign: the bytes as sent, or the JSON minified. Both
    need the secret, so either is accepted. A comparison takes the same time wherever the difference lies.
    """
    if not secret or header is None:
        return False
    given = header.strip().lower().encode("utf-8", "surrogatepass")
    if hmac.compare_digest(_signature(secret, body), given):
        return True
    small = minify(body)
    return small != body and hmac.compare_digest(_signature(secret, small), given)


def _signature(secret: str, body: bytes) -> bytes:
    return b"sha1=" + hmac.digest(secret.encode("utf-8", "surrogatepass"), body, "sha1").hex().encode()


TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)
OPENERS = frozenset("[{")
CLOSES = {"]": "[", "}": "{"}
ENTRIES = re.compile(r'\s*"entries"\s*:\s*(.*)', re.DOTALL)


def split_entries(text: str) -> list[str] | None:
    """Returns the elements' texts of the root object's `entries` list. None when there is none or more than one.

    One pass for each of the two levels, no recursion; the elements are not validated.
    """
    members = _members(text, "{") or []
    named = [found[1] for found in map(ENTRIES.fullmatch, members) if found]
    escaped = any("\\" in member.partition(":")[0] for member in members)
    return _members(named[0], "[") if len(named) == 1 and not escaped else None


def _members(text: str, bracket: str) -> list[str] | None:
    """Returns the texts between the outermost commas of a list or object. None for unbalanced brackets."""
    text = text.strip()
    cuts = _cuts(text)
    if text[:1] != bracket or not cuts or cuts[-1] != len(text) - 1:
        return None
    pieces = [text[start + 1 : end] for start, end in pairwise(cuts)]
    return pieces if any(piece.strip() for piece in pieces) else []


def _cuts(text: str) -> list[int]:
    """Returns where the outermost container opens, separates and closes. Empty for unbalanced brackets."""
    opened: list[str] = []
    cuts: list[int] = []
    for token in TOKEN.finditer(text):
        mark = token[0]
        if mark in OPENERS:
            opened.append(mark)
        if len(opened) == 1 and (mark == "," or not cuts):
            cuts.append(token.start())
        if mark in CLOSES and (not opened or opened.pop() != CLOSES[mark]):
            return []
        if not opened:  # closed twice, or there is text before the first bracket
            return [*cuts, token.start()]
    return []


CHARGE_POINT, PRICE_GROUP = "charge-point", "price-group"
"""Entity types that are applied, besides charges."""
MAX_BYTES = 1024 * 1024
MAX_ENTRIES = 20_000
"""Upper bound of entries in a delivery: a whole entry is longer than 50 bytes."""


DELIVERY_PATH = "/v1/webhooks/monta/{endpoint_id}"
"""Where Monta delivers an operator's events: registered there, and served by the endpoint of the API."""


def delivery_path(endpoint_id: str) -> str:
    """The path to register for one operator's endpoint."""
    return DELIVERY_PATH.format(endpoint_id=endpoint_id)


SPOILED_BY_ONE = (TooDeep, Ambiguous)
"""What one bad entry raises for a delivery that is parsed as a whole."""


class UnreadableDelivery(ValueError):
    """The body is no JSON object with a list of `entries`."""


@frozen(kw_only=True)
class Entry:
    """One entry of a delivery.

    `raw` is safe for `json.dumps` and PostgreSQL's jsonb. `dedupe_key` (64 hex digits) is equal for a redelivery.
    `problem` says why the entry must be parked: it is unreadable, or a charge without a usable id.
    `dropped_fields` names invalid fields of the charge that were left out.
    """

    entity_type: str | None
    entity_id: str | None
    event_type: str | None
    event_time: datetime | None
    raw: dict[str, Storable]
    dedupe_key: str
    charge: ChargeReport | None = None
    point: ChargePointReport | None = None
    problem: str | None = None
    dropped_fields: tuple[str, ...] = ()


@frozen
class Delivery:
    """The entries of a whole delivery."""

    entries: tuple[Entry, ...]


def read_delivery(body: bytes, seen_at: datetime, *, price_unit: PriceUnit = PriceUnit.MAJOR) -> Delivery:
    """Reads a delivery `{entries, pending, timestamp}` (reference, Webhooks). Raises UnreadableDelivery.

    An entry that is nested too deeply, or has a name twice, is parked alone: the others are cut out of the text around
    it.
    """
    try:
        rows = read_rows(body)
    except SPOILED_BY_ONE:
        return Delivery(tuple(read_text(text.strip(), seen_at, price_unit) for text in _cut_out(body)))
    return Delivery(tuple(read_entry(row, seen_at, price_unit=price_unit) for row in rows))


def read_rows(body: bytes) -> list[JsonIn]:
    """Parses a delivery without reading its entries. Raises UnreadableDelivery, TooDeep, Ambiguous."""
    try:
        whole = load_unambiguous(body, max_bytes=MAX_BYTES)
    except SPOILED_BY_ONE:
        raise
    except BadJson as error:
        raise UnreadableDelivery(str(error)) from error
    rows = whole.get("entries") if isinstance(whole, dict) else None
    if not isinstance(whole, dict) or not isinstance(rows, list):
        raise UnreadableDelivery("no JSON object with a list of entries")
    if len(rows) > MAX_ENTRIES:
        raise UnreadableDelivery(f"more than {MAX_ENTRIES} entries")
    return rows


def read_entry(value: JsonIn, seen_at: datetime, *, price_unit: PriceUnit = PriceUnit.MAJOR) -> Entry:
    """Reads one entry; never raises. Also reads the `raw` of a stored entry again."""
    if not isinstance(value, dict):
        return parked(storable(value), "the entry is not an object")
    f = Fields(value)
    raw = {clean_text(key): storable(child) for key, child in value.items()}
    entity_type, entity_id = _entity_type(f), _entity_id(value.get("entityId"))
    event_type, event_time = f.text("eventType", max_chars=100), f.date("eventTime")
    read, point, problem = None, None, None if entity_type else "the entry has no entityType"
    if entity_type == CHARGE_POINT:
        point = _point_of(value.get("payload"), entity_id, event_type, event_time, seen_at)
        problem = None if point else "no charge point is named in the entry"
    elif (entity_type or "").lower() == "charge" and not (
        value.get("payload") is None and event_type == "deleted"
    ):
        try:
            read = _charge_of(value.get("payload"), entity_id, seen_at, price_unit)
        except UnreadableCharge as error:
            problem = str(error)
    return Entry(
        entity_type=entity_type,
        entity_id=entity_id,
        event_type=event_type,
        event_time=event_time,
        raw=_needed(raw, entity_type),
        dedupe_key=_dedupe_key(raw),
        charge=_as_of(read.report, event_time, seen_at) if read else None,
        point=point,
        problem=problem,
        dropped_fields=read.problems if read else (),
    )


ABOUT_THE_ENTRY = frozenset({"entityType", "entityId", "eventType", "eventTime"})
KEPT_FIELDS: Mapping[str, Set[str]] = {
    "charge": CHARGE_FIELDS,
    CHARGE_POINT: {"id", "updatedAt", "teamId", "brandName", *POINT_FIELDS},
    PRICE_GROUP: frozenset(),  # it is read from Monta
}
"""What is kept of the payload of each kind that is read: the fields that are. Others may name a person."""
READ_KINDS = KEPT_FIELDS.keys()


def _needed(raw: dict[str, Storable], entity_type: str | None) -> dict[str, Storable]:
    """Returns what is kept of an entry. Of kinds that nothing reads (users, teams) only that it came."""
    kept = {name: value for name, value in raw.items() if name in ABOUT_THE_ENTRY}
    fields, payload = KEPT_FIELDS.get((entity_type or "").lower()), raw.get("payload")
    if fields is None or "payload" not in raw:
        return kept
    if isinstance(payload, dict):
        return kept | {"payload": {name: value for name, value in payload.items() if name in fields}}
    return kept | {"payload": payload and ""}  # as unreadable as it came


def needed_text(text: bytes) -> bytes:
    """Returns what is kept of a plain reading's text. Every digit stays as it was sent."""
    entry = _TEXTS.decode(text)
    kept = {name: value for name, value in entry.items() if name in ABOUT_THE_ENTRY}
    payload = {
        name: value for name, value in _TEXTS.decode(entry["payload"]).items() if name in CHARGE_FIELDS
    }
    return msgspec.json.encode(kept | {"payload": payload})


_TEXTS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def parked(kept: Storable, problem: str, *, key: str | None = None) -> Entry:
    """Returns an entry of which nothing is readable. It is kept for operations to inspect."""
    raw: dict[str, Storable] = {"unreadable": kept}
    return Entry(
        entity_type=None,
        entity_id=None,
        event_type=None,
        event_time=None,
        raw=raw,
        dedupe_key=_hash(key if key is not None else raw),
        problem=problem,
    )


def _cut_out(body: bytes) -> list[str]:
    texts = split_entries(body.decode("utf-8"))  # load_json has decoded it before, so it is UTF-8
    if texts is None or len(texts) > MAX_ENTRIES:
        raise UnreadableDelivery("no JSON object with a list of entries")
    return texts


def read_text(text: str | bytes, seen_at: datetime, price_unit: PriceUnit) -> Entry:
    """Reads the text of one entry; never raises."""
    try:
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        return read_entry(load_unambiguous(data, max_bytes=MAX_BYTES), seen_at, price_unit=price_unit)
    except BadJson as error:
        text = text if isinstance(text, str) else text.decode("utf-8", "replace")
        return parked(clean_text(text[:1000]), str(error), key=clean_text(text))


def _charge_of(payload: JsonIn, entity_id: str | None, seen_at: datetime, unit: PriceUnit) -> ChargeRead:
    """Reads the charge of an entry. The entry's id is used when the payload has none, otherwise both must match."""
    if isinstance(payload, dict) and payload.get("id") is None:
        payload = {**payload, "id": entity_id}
    read = read_charge(payload, seen_at, price_unit=unit)
    if entity_id is not None and entity_id != read.report.id:
        raise UnreadableCharge("entityId and payload.id name different charges")
    return read


def _entity_type(f: Fields) -> str | None:
    """Returns the entity type, with known types in one spelling."""
    entity_type = f.text("entityType", max_chars=100)
    plain = (entity_type or "").lower()
    return plain if plain in (CHARGE_POINT, PRICE_GROUP) else entity_type


def _point_of(
    payload: JsonIn,
    entity_id: str | None,
    event_type: str | None,
    event_time: datetime | None,
    arrived_at: datetime,
) -> ChargePointReport | None:
    """Reads what an entry says about a charge point. None when unreadable, or when entry and payload name
    different ones."""
    event_at = min(event_time or arrived_at, arrived_at)
    if payload is None and event_type == "deleted" and id_of(entity_id) is not None:
        return ChargePointReport(
            id=ChargePointId(str(entity_id)),
            shown=None,
            reported_fields=frozenset(),
            updated_at=event_at,
            event_at=event_at,
            received_at=arrived_at,
            is_gone=True,
        )
    if isinstance(payload, dict) and payload.get("id") is None:
        payload = {**payload, "id": entity_id}
    shown = read_charge_point(payload, arrived_at)
    if shown is None or not isinstance(payload, dict) or entity_id not in (None, shown.id):
        return None
    return ChargePointReport(
        id=shown.id,
        shown=shown,
        reported_fields=reported_fields_of_charge_point(payload),
        updated_at=min(shown.updated_at or event_at, arrived_at),
        event_at=event_at,
        received_at=arrived_at,
        is_gone=event_type == "deleted",
    )


def _as_of(report: ChargeReport, event_time: datetime | None, arrived_at: datetime) -> ChargeReport:
    """Dates the report by the event, not its arrival. Deliveries are repeated for a day."""
    reported_at = event_time or report.updated_at or arrived_at
    return replace(report, seen_at=min(reported_at, arrived_at))


def _entity_id(value: JsonIn) -> str | None:
    return id_of(value) or (clean_text(value)[:100] if isinstance(value, str) else None)


def _dedupe_key(raw: dict[str, Storable]) -> str:
    """Hashes type, id, kind, time and the whole payload: Monta sends no event id."""
    payload = raw.get("payload")
    updated_at = payload.get("updatedAt") if isinstance(payload, dict) else None
    when = raw.get("eventTime") or updated_at
    return _hash([raw.get("entityType"), raw.get("entityId"), raw.get("eventType"), when, payload])


def _hash(value: Storable) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
