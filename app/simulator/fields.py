"""Reading what a request brings: typed fields of a body or a query, each complaint naming its field."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from app.simulator.answers import Call, bad_request
from app.simulator.wire import JsonObject, JsonValue, NotJson, dumps, loads

MAX_INT64 = 2**63 - 1
MAX_PAYLOAD_CHARS = 1000
MAX_TEXT = 255
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?Z")


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
    """An int64 above 0."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_INT64:
        raise bad_request(f"{name}: must be a positive 64 bit integer")
    return value


def number(fields: JsonObject, name: str, low: int, high: int | None = None) -> Decimal | None:
    """A number from `low` to `high`, both included."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise bad_request(f"{name}: must be a number")
    found = Decimal(value)
    if found < low:
        raise bad_request(f"{name}: must be greater than or equal to {low}")
    if high is not None and found > high:
        raise bad_request(f"{name}: must be less than or equal to {high}")
    return found


def boolean(fields: JsonObject, name: str) -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise bad_request(f"{name}: must be true or false")
    return bool(value)


def text(fields: JsonObject, name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise bad_request(f"{name}: must be a string")
    if value is not None and len(value) > MAX_TEXT:
        raise bad_request(f"{name}: must not have more than {MAX_TEXT} characters")
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
    """genericPaymentSession: provider and externalId required, a negative amount refused."""
    session = mapping(fields, "genericPaymentSession")
    if session is None:
        return None
    for name in ("provider", "externalId"):
        if not text(session, name):
            raise bad_request(f"genericPaymentSession.{name}: must not be blank")
    kept: dict[str, JsonValue] = {name: text(session, name) for name in ("provider", "externalId")}
    for name in ("partnerExternalId", "cardBrand", "cardLast4"):
        kept[name] = text(session, name)
    kept["amount"] = number(session, "amount", 0)
    return kept


def path_id(value: str) -> int:
    """An id in a path."""
    if not value.isascii() or not value.isdigit() or int(value[:20]) > MAX_INT64:
        raise bad_request("The id must be a 64 bit integer")
    return int(value)


def query_id(call: Call, name: str) -> int | None:
    """An id in the query."""
    value = call.query.get(name)
    return None if value is None else path_id(value)


def query_date(call: Call, name: str) -> datetime | None:
    """yyyy-MM-ddTHH:mm:ssZ."""
    value = call.query.get(name)
    if value is None:
        return None
    try:
        if _DATE.fullmatch(value):
            return datetime.fromisoformat(value).astimezone(UTC)
    except ValueError:
        pass
    raise bad_request(f"{name}: must be a date in UTC such as 2022-05-22T09:30:03Z")


def query_int(call: Call, name: str, default: int, low: int, high: int) -> int:
    """A whole number from `low` to `high`."""
    value = call.query.get(name)
    if value is None:
        return default
    try:
        found = Decimal(value)
    except InvalidOperation as error:
        raise bad_request(f"{name}: must be a whole number") from error
    if not found.is_finite() or found != int(found) or not low <= found <= high:
        raise bad_request(f"{name}: must be between {low} and {high}")
    return int(found)


def query_choice(call: Call, name: str, choices: frozenset[str]) -> str | None:
    """One of `choices`."""
    value = call.query.get(name)
    if value is not None and value not in choices:
        raise bad_request(f"{name}: must be one of {', '.join(sorted(choices))}")
    return value
