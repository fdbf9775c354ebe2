"""Reads typed fields of a body or query. Each error names its field."""

import contextlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite

from app.simulator.http.answers import Call, Refusal, bad_request
from app.simulator.wire import JsonObject, JsonValue, NotJson, dumps, loads

MIN_INT64, MAX_INT64 = -(2**63), 2**63 - 1
MAX_PAYLOAD_CHARS = 1000
_WHOLE = re.compile(r"-?[0-9]{1,19}")
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})"
)


def body_object(call: Call) -> JsonObject:
    """The body as a JSON object."""
    try:
        body = loads(call.body)
    except NotJson as error:
        raise bad_request(f"Invalid JSON: {error}") from error
    if not isinstance(body, Mapping):
        raise bad_request("The body must be a JSON object")
    return body


def required(fields: JsonObject, name: str) -> None:
    if fields.get(name) is None:
        raise bad_request(f"{name}: must not be null")


def integer(fields: JsonObject, name: str) -> int | None:
    """Reads an int64 of either sign. Whether the id exists is checked later."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not MIN_INT64 <= value <= MAX_INT64:
        raise bad_request(f"{name}: must be a 64 bit integer")
    return value


def positive(fields: JsonObject, name: str) -> int | None:
    """An int64 above 0."""
    value = integer(fields, name)
    if value is not None and value <= 0:
        raise bad_request(f"{name}: must be greater than 0")
    return value


def number(fields: JsonObject, name: str, low: int, high: int | None = None) -> Decimal | None:
    """A double from `low` to `high`, both included."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise bad_request(f"{name}: must be a number")
    found = Decimal(value)
    if not isfinite(float(found)):
        raise bad_request(f"{name}: must be a number of double precision")
    if found < low:
        raise bad_request(f"{name}: must be greater than or equal to {low}")
    if high is not None and found > high:
        raise bad_request(f"{name}: must be less than or equal to {high}")
    return found


def boolean(fields: JsonObject, name: str) -> bool:
    """Reads true or false. False when it is left out; null is not allowed."""
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise bad_request(f"{name}: must be true or false")
    return value


def text(fields: JsonObject, name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise bad_request(f"{name}: must be a string")
    return value


def mapping(fields: JsonObject, name: str) -> JsonObject | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, Mapping):
        raise bad_request(f"{name}: must be an object")
    return value


def custom_payload(fields: JsonObject) -> JsonObject | None:
    """partnerCustomPayload: a JSON object of at most 1000 characters."""
    payload = mapping(fields, "partnerCustomPayload")
    if payload is not None and len(dumps(payload).decode()) > MAX_PAYLOAD_CHARS:
        raise bad_request(f"partnerCustomPayload: must not have more than {MAX_PAYLOAD_CHARS} characters")
    return payload


def payment_session(fields: JsonObject) -> JsonObject | None:
    """genericPaymentSession: provider and externalId required (blank is not missing), no negative amount."""
    session = mapping(fields, "genericPaymentSession")
    if session is None:
        return None
    for name in ("provider", "externalId"):
        if text(session, name) is None:
            raise bad_request(f"genericPaymentSession.{name}: must not be null")
    kept: dict[str, JsonValue] = {name: text(session, name) for name in ("provider", "externalId")}
    for name in ("partnerExternalId", "cardBrand", "cardLast4"):
        kept[name] = text(session, name)
    kept["amount"] = number(session, "amount", 0)
    return kept


def path_id(value: str) -> int:
    """An id in a path: an int64."""
    if not _WHOLE.fullmatch(value) or not MIN_INT64 <= int(value) <= MAX_INT64:
        raise bad_request("The id must be a 64 bit integer")
    return int(value)


def query_id(call: Call, name: str) -> int | None:
    """An id in the query: an int64."""
    value = call.query.get(name)
    if value is None:
        return None
    try:
        return path_id(value)
    except Refusal as refusal:
        raise bad_request(f"{name}: must be a 64 bit integer") from refusal


def query_date(call: Call, name: str) -> datetime | None:
    """Reads yyyy-MM-ddTHH:mm:ssZ; its format is date-time, so an offset is accepted too."""
    value = call.query.get(name)
    if value is None:
        return None
    with contextlib.suppress(ValueError, OverflowError):
        if _DATE.fullmatch(value):
            return datetime.fromisoformat(value).astimezone(UTC)
    raise bad_request(f"{name}: must be a date with its offset such as 2022-05-22T09:30:03Z")


def query_int(call: Call, name: str, default: int, low: int, high: int) -> int:
    """A whole number from `low` to `high`."""
    value = call.query.get(name)
    if value is None:
        return default
    if not _WHOLE.fullmatch(value):
        raise bad_request(f"{name}: must be a whole number")
    if not low <= int(value) <= high:
        raise bad_request(f"{name}: must be between {low} and {high}")
    return int(value)


def query_flag(call: Call, name: str) -> bool:
    """`true` or `false`; false when it is left out."""
    return query_choice(call, name, frozenset({"true", "false"})) == "true"


def query_choice(call: Call, name: str, choices: frozenset[str]) -> str | None:
    """One of `choices`."""
    value = call.query.get(name)
    if value is not None and value not in choices:
        raise bad_request(f"{name}: must be one of {', '.join(sorted(choices))}")
    return value
