"""One example for every operation of the OpenAPI document."""

from collections.abc import Mapping
from typing import Any

from fastapi import Body

from app.api.docs.error_responses import ALWAYS, WITH_BODY, WITH_FIELDS, Responses, problems
from app.api.docs.example_objects import (
    AUTHORIZED,
    CHARGE_ID,
    CHARGING,
    CONFIRMED,
    PRICE,
    SESSION_ID,
    TOPPED_UP,
)
from app.api.models.sessions import PaymentSessionOut


def json_example(
    example: Any,
    description: str,
    headers: Mapping[str, Any] | None = None,
    other: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A response with its example; `other`: further media types that it may have."""
    content = {"application/json": {"example": example}} | dict(other or {})
    answer: dict[str, Any] = {"description": description, "content": content}
    return answer | ({"headers": dict(headers)} if headers else {})


def header(description: str, example: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}, "example": example}


LOCATION = {"Location": header("where the session is", f"/v1/payment-sessions/{SESSION_ID}")}
REPLAYED = {"Idempotency-Replayed": header("this was recorded before; nothing new was", "true")}
WAITED = {
    "Preference-Applied": header("the wait that was granted, when one was asked for", "wait=10"),
}
AUTHORIZE: Responses = {
    200: json_example(
        CHARGING, "The same call again: the same session, as it is now", LOCATION | REPLAYED | WAITED
    )
    | {"model": PaymentSessionOut},
    201: json_example(AUTHORIZED, "Recorded durably; the start follows at once", LOCATION | WAITED),
    **problems(
        *("charge_point_unknown", "reference_conflict", "charge_point_busy"),
        *("currency_mismatch", "amount_too_small", "idempotency_key_reused"),
        *WITH_BODY,
    ),
}
SESSION: Responses = {
    200: json_example(CHARGING, "The payment session"),
    **problems("not_found", *WITH_FIELDS),
}
SESSIONS: Responses = {
    200: json_example(
        {"data": [CHARGING], "next_cursor": None}, "None or one by reference; open ones by pages"
    ),
    **problems(*WITH_FIELDS),
}
STOP: Responses = {
    202: json_example(CHARGING, "Taken down; the stop follows"),
    **problems("not_found", *ALWAYS),
}
STOP_BY_CARD: Responses = {
    202: json_example(CHARGING, "Taken down; the stop follows"),
    **problems(
        *("several_sessions", *WITH_BODY),
        not_found="No session of this card is running at this terminal.",
    ),
}
TOP_UP: Responses = {
    200: json_example(
        TOPPED_UP,
        "The hold has its new total; or this was recorded before: the session, as it is now",
        REPLAYED,
    ),
    201: json_example(TOPPED_UP, "Recorded durably; the limit has risen"),
    **problems(
        *("not_found", "session_ended", "reference_conflict", "top_up_not_possible", "below_used"),
        *("currency_mismatch", *WITH_BODY),
    ),
}
CAPTURE: Responses = {
    200: json_example(CONFIRMED, "Taken down"),
    **problems("not_found", "not_settled", "capture_conflict", *WITH_BODY),
}
_UNIT_PRICES = {
    "currency": "EUR",
    "per_session": 0,
    "per_kwh": 59,
    "per_minute": 0,
    "per_idle_minute": 0,
}
_POINT = {
    "id": "101",
    "name": "Bay 1",
    "state": "available",
    "connectors": [{"name": "type2"}],
    "max_power_w": 22000,
    "price": PRICE,
    "price_now": _UNIT_PRICES,
    "price_max": _UNIT_PRICES,
    "price_valid_until": None,
    "suggested_amount": 1500,
    "occupied_by_us": False,
    "cable_plugged_in": True,
    "state_seen_at": "2026-11-22T10:03:57.000Z",
}
CHARGE_POINTS: Responses = {
    200: json_example({"data": [_POINT], "next_cursor": None}, "All of them"),
    **problems(*ALWAYS),
}
EVENT_ID = "evt_01kaq52c7d9f1h3k5m7p9r1t3v"
EVENTS: Responses = {
    200: json_example(
        {
            "data": [
                {
                    "id": EVENT_ID,
                    "type": "payment_session.charging",
                    "timestamp": CHARGING["updated_at"],
                    "data": CHARGING,
                }
            ],
            "next_cursor": None,
        },
        "Oldest first",
    ),
    **problems(*WITH_FIELDS, not_found="This terminal has no such event, or no longer: leave `after` out."),
}
CHARGE_POINT: Responses = {
    200: json_example(_POINT, "The charge point"),
    **problems(*ALWAYS, not_found="This charge point is not assigned to the terminal."),
}

WEBHOOK: Responses = {
    200: json_example({}, "Every entry is stored durably"),
    **problems(
        "bad_signature",
        "unavailable",
        "internal_error",
        invalid_body="The delivery cannot be read: no JSON object with a list of entries.",
        not_found="There is no such webhook endpoint.",
        body_too_large="The body may have 1048576 bytes at most.",
    ),
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
    **problems(*ALWAYS, not_found="Metrics need an operations key that is for every operator."),
}


TERMINAL_STATUS: Responses = {
    200: json_example(
        {
            "state": "out_of_order",
            "message": "printer has no paper",
            "seen_at": "2026-11-22T10:04:12.000Z",
            "offline_after": "2026-11-22T10:09:12.000Z",
        },
        "As it is kept now",
    ),
    **problems(*WITH_BODY),
}


def named_body(name: str, example: Any, **more: Any) -> Any:
    return Body(
        openapi_examples={name: {"value": example} for name, example in {name: example, **more}.items()}
    )


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
        "soc_limit": 80,
        "tariff": PRICE,
        "metadata": {"lane": "3"},
    },
)
CAPTURE_IN = named_body(
    "captured",
    {"outcome": "captured", "amount": 1234, "reference": "psp-778"},
    refused_for_good={"outcome": "failed", "amount": 1234, "reference": "psp-779", "retryable": False},
)
STOP_REQUEST_IN = named_body(
    "card_shown_again",
    {"card_fingerprint": "opaque token of the same card"},
    by_person_at_a_charge_point={
        "card_account_reference": "PAR of the PSP",
        "charge_point_id": "101",
    },
)
TOP_UP_IN = named_body(
    "more",
    {"reference": "A-2026-000124", "amount": 2000},
    changed_in_place={"reference": "A-2026-000123", "amount_total": 7000},
)
STATUS_IN = named_body(
    "online", {"state": "online"}, out_of_order={"state": "out_of_order", "message": "printer has no paper"}
)
