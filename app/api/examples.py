"""One example for every operation of the OpenAPI document."""

from typing import Any

from fastapi import Body

from app.api.example_objects import (
    AUTHORIZED,
    CHARGE_ID,
    CHARGING,
    CONFIRMED,
    OPS,
    PRICE,
    SESSION_ID,
)
from app.api.example_problems import COMMON, INVALID, NOT_FOUND, UNAVAILABLE, WITH_BODY, Responses, problem
from app.api.views import PaymentSessionOut


def _json(example: Any, description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"example": example}}}


AUTHORIZE: Responses = {
    200: _json(CHARGING, "The same call again: the same session, as it is now")
    | {"model": PaymentSessionOut},
    201: _json(AUTHORIZED, "Recorded durably; the start follows at once"),
    404: problem("charge_point_unknown", "This charge point is not assigned to the terminal."),
    409: problem("charge_point_busy", "The charge point has an active payment session."),
    **WITH_BODY,
    **COMMON,
}
SESSION: Responses = {200: _json(CHARGING, "The payment session"), **NOT_FOUND, **COMMON}
SESSIONS: Responses = {200: _json({"data": [CHARGING], "next_cursor": None}, "None or one"), **COMMON}
STOP: Responses = {202: _json(CHARGING, "Taken down; the stop follows"), **NOT_FOUND, **COMMON}
STOP_BY_CARD: Responses = {**STOP, **WITH_BODY}
CAPTURE: Responses = {
    200: _json(CONFIRMED, "Taken down"),
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
CHARGE_POINTS: Responses = {200: _json({"data": [_POINT], "next_cursor": None}, "All of them"), **COMMON}
CHARGE_POINT: Responses = {200: _json(_POINT, "The charge point"), **NOT_FOUND, **COMMON}

WEBHOOK: Responses = {
    200: _json({}, "Every entry is stored durably"),
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

OPS_SESSION: Responses = {200: _json(OPS, "The payment session"), **NOT_FOUND, **COMMON}
OPS_SESSIONS: Responses = {200: _json({"data": [OPS], "next_cursor": None}, "One page"), **COMMON}
OPS_STOP: Responses = {
    202: _json(OPS, "Taken down; the stop follows"),
    **WITH_BODY,
    **NOT_FOUND,
    **COMMON,
}
JOURNAL: Responses = {
    200: _json(
        {
            "data": [
                {
                    "at": "2026-11-22T10:00:01.000Z",
                    "kind": "payment_authorized",
                    "source": "terminal",
                    "detail": {
                        "reference": "A-2026-000123",
                        "amount_minor": 5000,
                        "currency": "EUR",
                        "tariff": "payment",
                    },
                },
                {
                    "at": "2026-11-22T10:00:01.012Z",
                    "kind": "start_intended",
                    "source": "watcher",
                    "detail": {"post": 1},
                },
            ],
            "next_cursor": None,
        },
        "Oldest first",
    ),
    **NOT_FOUND,
    **COMMON,
}
_CAPTURE = {
    "outcome": "captured",
    "amount": 1234,
    "reference": "psp-778",
    "reported_at": "2026-11-22T10:10:00.000Z",
}
CAPTURES: Responses = {
    200: _json({"data": [_CAPTURE], "next_cursor": None}, "Oldest first"),
    **NOT_FOUND,
    **COMMON,
}
SUMMARY: Responses = {
    200: _json(
        {
            "sessions": {
                "authorized": 0,
                "starting": 1,
                "charging": 12,
                "stopping": 0,
                "finishing": 1,
                "completed": 340,
                "not_started": 9,
            },
            "needs_attention": 1,
            "last_24_hours": [
                {
                    "currency": "EUR",
                    "sessions": 54,
                    "amount_authorized": 270000,
                    "amount_captured": 101240,
                    "amount_released": 168760,
                    "shortfall": 0,
                    "energy_wh": 205880,
                }
            ],
            "watcher_seen_at": "2026-11-22T10:04:10.000Z",
            "oldest_due_at": None,
            "operators": [
                {
                    "id": OPS["operator_id"],
                    "name": "Nordlade",
                    "webhook_problem": None,
                    "upkeep_problem": None,
                    "budget_remaining": 812,
                    "budget_quota": 1000,
                }
            ],
        },
        "As of now",
    ),
    **COMMON,
}
LIVE: Responses = {200: _json({"status": "ok"}, "It lives")}
_CHECKS = {"database": "ok", "schema": "ok", "clock": "ok", "watcher": "ok"}
READY: Responses = {
    200: _json({"status": "ok", "checks": _CHECKS}, "Ready"),
    503: _json(
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


def _body(name: str, example: Any) -> Any:
    return Body(openapi_examples={name: {"value": example}})


PAYMENT_SESSION_IN = _body(
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
CAPTURE_IN = _body("captured", {"outcome": "captured", "amount": 1234, "reference": "psp-778"})
STOP_REQUEST_IN = _body("card_shown_again", {"card_fingerprint": "opaque token of the same card"})
OPS_STOP_IN = _body("stop", {"reason": "cable trapped, driver on the phone"})
