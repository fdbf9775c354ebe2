"""Example sessions, settlements and prices, for the OpenAPI document."""

from app.api.display import DEFAULT, display

SESSION_ID = "ps_01kaq4m8zt2v9x7c5r3e1w0qyn"
CURSOR = "MjAyNi0xMS0yMlQxMDowMDowMSswMDowMCBwc18x"
"""Where the next page of a list begins; see http/cursor."""
CHARGE_ID = "689100419745380035"

PRICE = {
    "currency": "EUR",
    "elements": [{"price_components": [{"type": "ENERGY", "price": 0.49, "vat": 20.0, "step_size": 1}]}],
}

SETTLEMENT = {
    "action": "capture",
    "amount_to_capture": 1234,
    "amount_to_release": 3766,
    "shortfall": 0,
    "deadline": "2026-11-24T10:00:00.000Z",
    "status": "due",
    "attempts": 0,
    "retry_at": None,
    "energy_wh": 2091,
    "receipt": {
        "date": "2026-11-22",
        "display_reference": "K7QM-4TXP",
        "card_last4": "4242",
        "url": "https://receipt.monta.com",
    },
}

CHARGING = {
    "id": SESSION_ID,
    "version": 7,
    "status": "charging",
    "charge_point_id": "101",
    "terminal_id": "trm_01kaq4kzrw8m6n4b2v0c9x7z5l",
    "display_reference": "K7QM-4TXP",
    "authorization_reference": "A-2026-000123",
    "currency": "EUR",
    "amount_authorized": 5000,
    "amount_used": 1234,
    "amount_remaining": 3766,
    "energy_wh": 2091,
    "energy_limit_wh": 8474,
    "charge": {"id": CHARGE_ID, "state": "charging", "seen_at": "2026-11-22T10:04:12.000Z"},
    "start_deadline": "2026-11-22T10:05:01.000Z",
    "stop_reason": None,
    "not_started_reason": None,
    "settlement": None,
    "needs_attention": False,
    "display": {
        "key": "charging",
        "text": "Charging. €12.34 of €50.00 used.",
        "speech": "Charging. 12.34 euros of 50.00 euros used.",
    },
    "soc_limit": 80,
    "power_w": 48200,
    "state_of_charge": 47,
    "started_at": "2026-11-22T10:00:06.000Z",
    "expected_end": "2026-11-22T10:12:31.000Z",
    "created_at": "2026-11-22T10:00:01.000Z",
    "updated_at": "2026-11-22T10:04:12.000Z",
}
AUTHORIZED = CHARGING | {
    "display": {**display("payment_accepted", DEFAULT)},
    "version": 1,
    "status": "authorized",
    "charge": None,
    "power_w": None,
    "state_of_charge": None,
    "started_at": None,
    "expected_end": None,
    "amount_used": 0,
    "amount_remaining": 5000,
    "energy_wh": 0,
    "updated_at": "2026-11-22T10:00:01.000Z",
}
COMPLETED = CHARGING | {
    "version": 12,
    "status": "completed",
    "stop_reason": "driver",
    "settlement": SETTLEMENT,
    "power_w": None,
    "expected_end": None,
    "display": {
        "key": "to_pay",
        "text": "Charging has ended. You pay €12.34.",
        "speech": "Charging has ended. You pay 12.34 euros.",
    },
    "charge": {"id": CHARGE_ID, "state": "completed", "seen_at": "2026-11-22T10:09:30.000Z"},
}
CONFIRMED = COMPLETED | {"version": 13, "settlement": SETTLEMENT | {"status": "confirmed"}}
TOPPED_UP = CHARGING | {
    "version": 8,
    "amount_authorized": 7000,
    "amount_remaining": 5766,
    "energy_limit_wh": 14285,
    "limits": {
        "own_limit": 7000,
        "monta_price_limit": 15000,
        "monta_kwh_limit": 30610,
        "amount_usable": 7000,
    },
}
OPS = COMPLETED | {
    "operator_id": "op_01kaq4kx1h0g9f8e7d6c5b4a3z",
    "card_brand": "visa",
    "card_last4": "4242",
    "attention": [],
    "amount_used_error": 0,
    "limits": {"own_limit": 5000, "monta_price_limit": 5000, "monta_kwh_limit": 8470, "amount_usable": 5000},
    "authorizations": [
        {"reference": "A-2026-000123", "amount": 5000, "expires_at": "2026-11-24T10:00:00.000Z"}
    ],
    "tariff_source": "payment",
    "tariff_gaps": [],
    "learned_kwh_price": None,
    "settlement_basis": "final_price",
    "stop_attempts": 1,
    "duplicate_charges": [],
    "monta_price": "12.34",
    "metadata": {"lane": "3"},
}
