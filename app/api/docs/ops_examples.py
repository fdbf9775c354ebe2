"""One example for every operation of the operations API. For the OpenAPI document."""

from app.api.docs.error_responses import ALWAYS, OPS_ACT, WITH_FIELDS, Responses, problems
from app.api.docs.example_objects import OPS
from app.api.docs.examples import json_example, named_body

UNSEEN = "This key sees no such payment session."

ACKNOWLEDGED = OPS | {
    "attention": [
        {
            "code": "shortfall",
            "severity": "warning",
            "what_to_do": "Look at the journal's cause: a late stop, a fee after the stop, or a limit that Monta"
            " missed.",
            "amount_at_risk": 12,
            "detail": "the charge cost 0.12 EUR more than was authorized",
            "since": "2026-11-22T10:09:31.000Z",
            "acknowledged": {
                "at": "2026-11-22T11:30:00.000Z",
                "by": "opk_01kaq4kyd3e2f1g0h9j8k7m6n5",
                "note": "booked as a loss",
            },
        }
    ]
}
OPS_SESSION: Responses = {
    200: json_example(OPS, "The payment session"),
    **problems(*ALWAYS, not_found=UNSEEN),
}
OPS_SESSIONS: Responses = {
    200: json_example({"data": [OPS], "next_cursor": None}, "One page"),
    **problems(*WITH_FIELDS),
}
OPS_STOP: Responses = {
    202: json_example(OPS, "Taken down; the stop follows"),
    **problems(*OPS_ACT, not_found=UNSEEN),
}
OPS_SETTLE: Responses = {
    200: json_example(OPS, "Settled"),
    **problems("session_running", "already_settled", *OPS_ACT, not_found=UNSEEN),
}
ACKNOWLEDGE: Responses = {
    200: json_example(ACKNOWLEDGED, "Acknowledged"),
    **problems(*OPS_ACT, not_found=UNSEEN),
}
OPS_CLOSE: Responses = {
    200: json_example(OPS, "Ended and settled"),
    **problems(
        "session_ended",
        *OPS_ACT,
        not_found=UNSEEN,
        session_ended="this payment session has ended, and its settlement is never changed.",
    ),
}
JOURNAL: Responses = {
    200: json_example(
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
    **problems(*WITH_FIELDS, not_found=UNSEEN),
}
_CAPTURE = {
    "outcome": "captured",
    "amount": 1234,
    "reference": "psp-778",
    "authorization_reference": None,
    "retryable": True,
    "reported_at": "2026-11-22T10:10:00.000Z",
}
CAPTURES: Responses = {
    200: json_example({"data": [_CAPTURE], "next_cursor": None}, "Oldest first"),
    **problems(*ALWAYS, not_found=UNSEEN),
}
_HASH = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"
EVIDENCE: Responses = {
    200: json_example(
        {
            "format": "tapwatt-evidence-1",
            "made_at": "2026-11-22T12:00:00.000000+00:00",
            "session": {
                "id": OPS["id"],
                "operator_id": OPS["operator_id"],
                "terminal_id": "trm_01kaq4kzrw8m6n4b2v0c9x7z5l",
                "status": "completed",
                "created_at": "2026-11-22T10:00:01.000000+00:00",
            },
            "request": {
                "charge_point_id": "101",
                "reference": "A-2026-000123",
                "amount_minor": 5000,
                "currency": "EUR",
                "authorized_at": None,
                "expires_at": None,
                "display_reference": "K7QM-4TXP",
                "energy_limit_wh": None,
                "created_at": "2026-11-22T10:00:01.000000+00:00",
                "tariff": None,
            },
            "card": {"brand": "visa", "last4": "4242", "fingerprint": None, "account_reference": None},
            "metadata": {},
            "journal": [
                {
                    "number": 1,
                    "at": "2026-11-22T10:00:01.000000+00:00",
                    "kind": "payment_authorized",
                    "source": "terminal",
                    "detail": {
                        "reference": "A-2026-000123",
                        "amount_minor": 5000,
                        "currency": "EUR",
                        "tariff": None,
                        "request": _HASH,
                    },
                    "hash": _HASH,
                }
            ],
            "chain": {"algorithm": "sha256", "lines": 1, "head": _HASH, "seal": None},
            "decisions": [],
            "calls": [],
            "settlement": None,
            "final_record": None,
            "captures": [],
            "deliveries": [],
            "keys": [],
            "seal": _HASH,
            "signature": {"key_id": "21fe31dfa154a261", "public_key": _HASH, "value": _HASH + _HASH},
        },
        "The bundle",
    ),
    **problems(*ALWAYS, not_found=UNSEEN),
}
SUMMARY: Responses = {
    200: json_example(
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
            "settlements_due": 3,
            "captures_overdue": 1,
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
                    "webhook_mended_at": None,
                    "sync_problem": None,
                    "setup_problem": None,
                    "monta_clock_ahead_s": None,
                    "access_problem": None,
                    "reconciled_at": "2026-11-22T10:00:00.000Z",
                    "reconcile_problem": None,
                    "disabled_at": None,
                    "open_orphans": 0,
                    "budget_remaining": 812,
                    "budget_quota": 1000,
                }
            ],
        },
        "As of now",
    ),
    **problems(*ALWAYS),
}
ACKNOWLEDGE_IN = named_body("acknowledge", {"note": "booked as a loss"})
OPS_STOP_IN = named_body("stop", {"reason": "cable trapped, driver on the phone"})
OPS_SETTLE_IN = named_body("settle", {"amount": 1234, "reason": "price read at the charge point's own meter"})
OPS_CLOSE_IN = named_body("close", {"amount": 0, "reason": "charge point taken away, driver on the phone"})
ORPHAN_CHARGE = {
    "operator_id": OPS["operator_id"],
    "charge_id": "689100419745380035",
    "session_reference": "ps_01kaq4nbt5y3v1z9c7p5a3s1df",
    "ours": True,
    "charge_point_id": "101",
    "display_reference": "K7QM-4TXP",
    "card_last4": "4242",
    "state": "completed",
    "energy_wh": 5310,
    "price": "2.60",
    "currency": "EUR",
    "created_at": "2026-11-22T09:58:00.000Z",
    "found_at": "2026-11-22T10:04:00.000Z",
    "seen_at": "2026-11-22T10:05:00.000Z",
    "stops": 1,
    "problem": None,
    "closed_at": None,
    "closed_because": None,
    "closed_by": None,
}
ORPHANS: Responses = {
    200: json_example({"data": [ORPHAN_CHARGE], "next_cursor": None}, "Open ones"),
    **problems(*WITH_FIELDS),
}
ORPHAN: Responses = {
    200: json_example(ORPHAN_CHARGE, "Closed"),
    **problems(*OPS_ACT, not_found="This key sees no such orphan charge."),
}
ORPHAN_CLOSE_IN = named_body("close", {"reason": "found by its card, captured by hand"})
_DAY_MONEY = {
    "currency": "EUR",
    "amount_authorized": 12000,
    "amount_captured": 4215,
    "amount_released": 5785,
    "amount_open": 2000,
    "amount_above": 0,
    "amount_settled": 4215,
    "amount_monta": 4239,
}
RECONCILIATION: Responses = {
    200: json_example(
        {
            "date": "2026-11-22",
            "as_of": "2026-11-23T06:00:00.000Z",
            "sessions": 6,
            "totals": [
                _DAY_MONEY
                | {
                    "operator_id": OPS["operator_id"],
                    "terminal_id": OPS["terminal_id"],
                    "sessions": 6,
                    "differing": 1,
                }
            ],
            "differing": [
                _DAY_MONEY
                | {
                    "amount_authorized": 2000,
                    "amount_captured": 790,
                    "amount_released": 1210,
                    "amount_open": 0,
                    "amount_settled": 790,
                    "amount_monta": 814,
                    "session_id": OPS["id"],
                    "terminal_id": OPS["terminal_id"],
                    "display_reference": OPS["display_reference"],
                    "differences": [
                        {
                            "kind": "late_meter",
                            "meaning": "The record's energy differs from the energy that was settled.",
                            "amount": 24,
                            "detail": "settled 7.90 EUR for 10000 Wh, Monta shows 8.14 EUR for 10304 Wh",
                        }
                    ],
                }
            ],
        },
        "The day as it stands now; with `format=csv` one row a session",
        other={
            "text/csv": {"schema": {"type": "string"}, "example": "operator_id,terminal_id,session_id\r\n"}
        },
    ),
    **problems(*WITH_FIELDS),
}
_OUTAGE = {
    "cause": "disconnected",
    "began_at": "2026-11-21T06:10:00.000Z",
    "ended_at": "2026-11-21T08:40:00.000Z",
    "seconds": 9000,
}
AVAILABILITY: Responses = {
    200: json_example(
        {
            "month_start": "2026-11-01T00:00:00.000Z",
            "as_of": "2026-11-22T10:04:12.000Z",
            "terminals": [
                {
                    "operator_id": OPS["operator_id"],
                    "charge_point_id": None,
                    "terminal_id": OPS["terminal_id"],
                    "name": "lane 3",
                    "available_percent": "100.00",
                    "observed_s": 1850652,
                    "out_s": 0,
                    "outages": [],
                }
            ],
            "charge_points": [
                {
                    "operator_id": OPS["operator_id"],
                    "charge_point_id": "101",
                    "terminal_id": None,
                    "name": "Bay 1",
                    "available_percent": "99.51",
                    "observed_s": 1850652,
                    "out_s": 9000,
                    "outages": [_OUTAGE],
                }
            ],
        },
        "The month as it stands now",
    ),
    **problems(*WITH_FIELDS),
}
_CHARGE = {
    "operator_id": OPS["operator_id"],
    "session_id": OPS["id"],
    "charge_id": "689100419745380035",
    "display_reference": OPS["display_reference"],
    "terminal_id": OPS["terminal_id"],
    "charge_point_id": "101",
    "charge_point_name": "Bay 1",
    "evse_id": "DK*TAP*E101",
    "site_id": "9",
    "address": "1 Test Street, 1000 Boxville",
    "started_at": "2026-11-22T10:00:09.000Z",
    "ended_at": "2026-11-22T10:31:40.000Z",
    "energy_wh": 15620,
    "currency": "EUR",
    "amount_gross": 1234,
    "amount_net": 1037,
    "amount_tax": 197,
    "tax_rate": 19,
    "amount_captured": 1234,
}
CHARGES: Responses = {
    200: json_example(
        {
            "month": "2026-11",
            "as_of": "2026-12-01T06:00:00.000Z",
            "totals": [
                {
                    "currency": "EUR",
                    "charges": 1,
                    "energy_wh": 15620,
                    "amount_gross": 1234,
                    "amount_net": 1037,
                    "amount_tax": 197,
                    "amount_untaxed": 0,
                    "amount_captured": 1234,
                }
            ],
            "data": [_CHARGE],
        },
        "The month as it stands now; with `format=csv` one row a charge, amounts in major units",
        other={"text/csv": {"schema": {"type": "string"}, "example": "operator_id,session_id,charge_id\r\n"}},
    ),
    **problems(*WITH_FIELDS),
}
