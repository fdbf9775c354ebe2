"""One example for every operation of the OpenAPI document."""

from typing import Any

from fastapi import Body

from app.api.example_objects import (
    AUTHORIZED,
    CHARGE_ID,
    CHARGING,
    CONFIRMED,
    PRICE,
    SESSION_ID,
    TOPPED_UP,
)
from app.api.example_problems import COMMON, INVALID, NOT_FOUND, UNAVAILABLE, WITH_BODY, Responses, problem
from app.api.views import PaymentSessionOut


def json_example(example: Any, description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"example": example}}}


AUTHORIZE: Responses = {
    200: json_example(CHARGING, "The same call again: the same session, as it is now")
    | {"model": PaymentSessionOut},
    201: json_example(AUTHORIZED, "Recorded durably; the start follows at once"),
    404: problem("charge_point_unknown", "This charge point is not assigned to the terminal."),
    409: problem("charge_point_busy", "The charge point has an active payment session."),
    **WITH_BODY,
    **COMMON,
}
SESSION: Responses = {200: json_example(CHARGING, "The payment session"), **NOT_FOUND, **COMMON}
SESSIONS: Responses = {200: json_example({"data": [CHARGING], "next_cursor": None}, "None or one"), **COMMON}
STOP: Responses = {202: json_example(CHARGING, "Taken down; the stop follows"), **NOT_FOUND, **COMMON}
STOP_BY_CARD: Responses = {**STOP, **WITH_BODY}
TOP_UP: Responses = {
    200: json_example(TOPPED_UP, "The same hold again: the session, as it is now"),
    201: json_example(TOPPED_UP, "Recorded durably; the limit has risen"),
    409: problem("session_ended", "The payment session is ending or has ended; release the new hold."),
    **WITH_BODY,
    **NOT_FOUND,
    **COMMON,
}
CAPTURE: Responses = {
    200: json_example(CONFIRMED, "Taken down"),
    409: problem("not_settled", "This payment session is not settled yet."),
    **WITH_BODY,
    **NOT_FOUND,
    **COMMON,
}
_POINT = {
    "id": "101",
    "name": "Bay 1",
    "state": "available",
    "connectors": [{"name": "type2"}],
    "max_power_w": 22000,
    "price": PRICE,
}
CHARGE_POINTS: Responses = {
    200: json_example({"data": [_POINT], "next_cursor": None}, "All of them"),
    **COMMON,
}
CHARGE_POINT: Responses = {200: json_example(_POINT, "The charge point"), **NOT_FOUND, **COMMON}

WEBHOOK: Responses = {
    200: json_example({}, "Every entry is stored durably"),
    400: problem("invalid_body", "The delivery cannot be read: no JSON object with a list of entries."),
    401: problem("bad_signature", "X-Monta-Signature does not fit the body and this endpoint's secret."),
    404: problem("not_found", "There is no such webhook endpoint."),
    413: problem("body_too_large", "The body may have 1048576 bytes at most."),
    **INVALID,
    **UNAVAILABLE,
}
_DELIVERY = {
    "entries": [
        {
            "entityType": "charge",
            "entityId": CHARGE_ID,
            "eventType": "updated",
            "eventTime": "2026-11-22T10:04:11.871Z",
            "payload": {
                "id": int(CHARGE_ID),
                "state": "charging",
                "consumedKwh": 2.09,
                "partnerExternalId": SESSION_ID,
            },
        }
    ],
    "pending": 0,
    "timestamp": 1795341852000,
}
WEBHOOK_IN: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "object", "required": ["entries"]}, "example": _DELIVERY}
        },
    }
}

LIVE: Responses = {200: json_example({"status": "ok"}, "It lives")}
_CHECKS = {"database": "ok", "schema": "ok", "clock": "ok", "watcher": "ok"}
READY: Responses = {
    200: json_example({"status": "ok", "checks": _CHECKS}, "Ready"),
    503: json_example(
        {
            "status": "not_ready",
            "checks": _CHECKS | {"watcher": "no watcher is running: start `tapwatt watch`"},
        },
        "Not ready, and why",
    ),
}
METRICS: Responses = {
    200: {
        "description": "Prometheus' text format",
        "content": {"text/plain": {"example": 'tapwatt_sessions{status="charging"} 12.0\n'}},
    },
    **UNAVAILABLE,
}


def named_body(name: str, example: Any) -> Any:
    return Body(openapi_examples={name: {"value": example}})


PAYMENT_SESSION_IN = named_body(
    "payment_authorized",
    {
        "charge_point_id": "101",
        "authorization": {
            "reference": "A-2026-000123",
            "amount": 5000,
            "currency": "EUR",
            "authorized_at": "2026-11-22T10:00:00Z",
            "expires_at": "2026-11-24T10:00:00Z",
            "card": {"brand": "visa", "last4": "4242", "fingerprint": "opaque token of the same card"},
        },
        "display_reference": "K7QM-4TXP",
        "energy_limit_wh": 20000,
        "tariff": PRICE,
        "metadata": {"lane": "3"},
    },
)
CAPTURE_IN = named_body("captured", {"outcome": "captured", "amount": 1234, "reference": "psp-778"})
STOP_REQUEST_IN = named_body("card_shown_again", {"card_fingerprint": "opaque token of the same card"})
TOP_UP_IN = named_body("more", {"reference": "A-2026-000124", "amount": 2000})
