"""Documents every operation's errors: one schema, an example a code."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from app.api.display import DEFAULT
from app.api.docs.example_objects import SESSION_ID
from app.api.http.problems import KINDS, MEDIA_TYPE, TYPE_BASE
from app.api.models.sessions import DisplayOut

Responses: TypeAlias = dict[int | str, dict[str, Any]]

_TEXT, _FLAG = {"type": "string"}, {"type": "boolean"}
_FIELD = {
    "type": "object",
    "required": ["field", "message"],
    "properties": {
        "field": {**_TEXT, "description": "a path of names of this contract; `body` or `query` as a whole"},
        "message": _TEXT,
    },
}
_NAMED_SESSION = {
    "type": "object",
    "required": ["id", "charge_point_id"],
    "properties": {"id": _TEXT, "charge_point_id": _TEXT},
}
_PROPERTIES: dict[str, Any] = {
    "type": {**_TEXT, "description": "the code as a URN"},
    "title": _TEXT,
    "status": {"type": "integer"},
    "detail": {**_TEXT, "description": "what happened and what to do; never a value that was sent"},
    "code": {**_TEXT, "enum": sorted(KINDS), "description": "stable; what to decide by"},
    "retryable": {**_FLAG, "description": "whether the same call may succeed later"},
    "display_message": {**_TEXT, "description": "short, for a driver, in English"},
    "request_id": _TEXT,
}
SCHEMA: Mapping[str, Any] = {
    "title": "Problem",
    "description": "Problem details (RFC 9457).",
    "type": "object",
    "required": list(_PROPERTIES),
    "properties": _PROPERTIES
    | {
        "display": {
            **DisplayOut.model_json_schema(),
            "description": "the same in the driver's language; in every answer but those to Monta",
        },
        "errors": {"type": "array", "items": _FIELD, "description": "of a 422: what is wrong where"},
        "session_id": {**_TEXT, "description": "of a 409: the caller's payment session that it is about"},
        "sessions": {"type": "array", "items": _NAMED_SESSION, "description": "of `several_sessions`"},
    },
}
SCHEMA_NAME = "Problem"

DETAILS: Mapping[str, str] = {
    "invalid_request": "Some fields are not right; see errors.",
    "currency_mismatch": "the authorization is in another currency than this charge point, which charges in EUR.",
    "amount_too_small": "the amount is too small: Monta limits a charge to 1 kWh and to one major unit of the"
    " currency at least, and the authorization must pay for that; authorize more.",
    "card_data_not_allowed": "A field holds what looks like a card number; nothing was recorded."
    " Send an opaque token instead.",
    "idempotency_key_reused": "this Idempotency-Key was used for another authorization.",
    "reference_conflict": "this authorization reference was used with other contents.",
    "charge_point_busy": "the charge point has an active payment session.",
    "charge_point_unknown": "this charge point is not assigned to the terminal.",
    "several_sessions": "several sessions of this card are running; name the charge point of one.",
    "session_ended": "the payment session is ending or has ended; release the new hold.",
    "top_up_not_possible": "the authorization may reach 100.00 EUR here, so 25.00 EUR more are possible at most.",
    "below_used": "the charge may already have used more; keep the hold as it was.",
    "session_running": "the charge has not ended; stop it first, and wait until the session is finishing.",
    "already_settled": "this payment session is settled, and a settlement is never changed.",
    "not_settled": "this payment session is not settled yet; wait for its settlement.",
    "capture_conflict": "this outcome was reported with another amount before.",
    "invalid_body": "The body is not valid JSON, or an object in it has the same name twice.",
    "body_too_large": "The body may have 65536 bytes at most.",
    "unauthorized": "Send a valid key as `Authorization: Bearer <key>`.",
    "read_only_key": "This operations key may only read; an act needs a key with the role `operate`.",
    "bad_signature": "X-Monta-Signature does not fit the body and this endpoint's secret.",
    "not_found": "This terminal has no such payment session.",
    "method_not_allowed": "Method Not Allowed; see /docs for what this service offers.",
    "unsupported_media_type": "Send the body with Content-Type: application/json.",
    "too_many_requests": "A limit of calls a minute is reached (TAPWATT_CALLS_PER_MINUTE); wait as Retry-After says.",
    "unavailable": "Nothing is known to be recorded; ask again with the same reference.",
    "internal_error": "The request failed here; nothing is known to be recorded.",
}
FIELDS: Mapping[str, Mapping[str, str]] = {
    "currency_mismatch": {"field": "authorization.currency", "message": "another currency than the price"},
    "amount_too_small": {"field": "authorization.amount", "message": "the amount is too small"},
    "card_data_not_allowed": {"field": "metadata", "message": "holds what looks like a card number"},
    "idempotency_key_reused": {
        "field": "Idempotency-Key",
        "message": "this Idempotency-Key was used for another authorization",
    },
}
WRONG_FIELD = {"field": "authorization.amount", "message": "Input should be a valid integer"}
OF_ONE_SESSION = frozenset(
    {
        *("reference_conflict", "charge_point_busy", "session_ended", "top_up_not_possible", "below_used"),
        *("session_running", "already_settled", "not_settled", "capture_conflict", "idempotency_key_reused"),
    }
)
SEVERAL = [
    {"id": SESSION_ID, "charge_point_id": "101"},
    {"id": "ps_01kaq4nbt5y3v1z9c7p5a3s1df", "charge_point_id": "102"},
]
RETRY_AFTER = {
    "description": "seconds to wait before asking again",
    "schema": {"type": "string", "pattern": "^[0-9]+$"},
    "example": "3",
}
WWW_AUTHENTICATE = {
    "description": "how to authenticate",
    "schema": {"type": "string"},
    "example": "Bearer",
}


def example_of(code: str, detail: str | None = None) -> dict[str, Any]:
    """Returns a complete problem with this code."""
    kind = KINDS[code]
    example: dict[str, Any] = {
        "type": TYPE_BASE + code,
        "title": kind.title,
        "status": kind.status,
        "detail": detail or DETAILS[code],
        "code": code,
        "retryable": kind.retryable,
        **kind.shown(DEFAULT),
        "request_id": "req_01kaq4nbt5y3u1i9o7p5a3s1df",
    }
    if kind.status == 422:
        example["errors"] = [dict(FIELDS.get(code, WRONG_FIELD))]
    if code in OF_ONE_SESSION:
        example["session_id"] = SESSION_ID
    if code == "several_sessions":
        example["sessions"] = SEVERAL
    return example


def problems(*codes: str, **details: str) -> Responses:
    """Returns the error responses with these codes, by status. `details` replaces a code's default text."""
    found: Responses = {}
    for status in sorted({KINDS[code].status for code in (*codes, *details)}):
        here = [code for code in dict.fromkeys((*codes, *details)) if KINDS[code].status == status]
        found[status] = _response(status, {code: example_of(code, details.get(code)) for code in here})
    return found


def _response(status: int, examples: Mapping[str, Any]) -> dict[str, Any]:
    required = {"required": ["errors"]} if status == 422 else {}
    schema = {
        "allOf": [
            {"$ref": f"#/components/schemas/{SCHEMA_NAME}"},
            {"type": "object", "properties": {"code": {"enum": sorted(examples)}}, **required},
        ]
    }
    named = {code: {"summary": KINDS[code].title, "value": example} for code, example in examples.items()}
    response = {
        "description": "; ".join(f"`{code}`: {KINDS[code].title.lower()}" for code in examples),
        "content": {MEDIA_TYPE: {"schema": schema, "examples": named}},
    }
    after = {"Retry-After": RETRY_AFTER}
    headers = {503: after, 429: after, 401: {"WWW-Authenticate": WWW_AUTHENTICATE}}.get(status)
    return response | ({"headers": headers} if headers and "bad_signature" not in examples else {})


ALWAYS = ("unauthorized", "card_data_not_allowed", "too_many_requests", "unavailable", "internal_error")
"""Codes of every operation that needs a key."""
WITH_FIELDS = (*ALWAYS, "invalid_request")
"""Codes of operations with fields or parameters that can be invalid."""
WITH_BODY = (*WITH_FIELDS, "invalid_body", "body_too_large", "unsupported_media_type")
"""Codes of operations with a body."""
OPS_ACT = (*WITH_BODY, "read_only_key")
"""Codes of operations' calls that change something."""
