"""Webhook deliveries made by hand: signed as Monta signs them, with charges as Monta shows them."""

import json
from typing import Any

import httpx

from app.simulator.webhooks.outbox import signature
from tests.journeys.rig import Json, Rig


async def deliver(rig: Rig, *entries: Any, secret: str | None = None) -> int:
    """A delivery as Monta sends it; the status of the answer."""
    return (await answered(rig, *entries, secret=secret)).status_code


async def answered(rig: Rig, *entries: Any, secret: str | None = None) -> httpx.Response:
    """As `deliver`, the whole answer."""
    body = json.dumps({"entries": entries, "pending": 0, "timestamp": 1}).encode()
    sealed = signature(secret or rig.operator.webhook_secret, body)
    headers = {"X-Monta-Signature": f"sha1={sealed}", "Content-Type": "application/json"}
    return await rig.http.post(rig.operator.webhook_path, content=body, headers=headers)


def entry(rig: Rig, charge: Json, event: str = "updated") -> Json:
    at = rig.clock.now().isoformat()
    return {
        "entityType": "charge",
        "entityId": str(charge["id"]),
        "eventType": event,
        "eventTime": at,
        "payload": charge,
    }


async def as_monta_shows_it(rig: Rig, session_id: str | None = None) -> Json:
    """The charge as the simulator's own record shows it; of several sessions, the charge of this one."""
    sent = [json.loads(delivery.body)["entries"] for delivery in rig.monta.deliveries]
    found = [e["payload"] for entries in sent for e in entries if e["entityType"] == "charge"]
    shown: Json = [c for c in found if session_id in (None, c["partnerExternalId"])][-1]
    return shown


def later(rig: Rig, charge: Json, wh: int) -> Json:
    """The charge with so much more energy, at the same price a kWh, now."""
    kwh = float(charge["consumedKwh"]) + wh / 1000
    price = round(float(charge["price"]) * kwh / float(charge["consumedKwh"]), 2)
    return charge | {"consumedKwh": kwh, "price": price, "updatedAt": rig.clock.now().isoformat()}
