"""Tests of app/simulator/shapes.

Every answer of the box against the tables of Monta's objects, in every state a charge can have.
"""

import json
from decimal import Decimal
from typing import Any

import pytest

from app.domain.units.ids import ChargePointId
from app.simulator.config import GATEWAY_SCOPES
from tests.simulator.box import AC, DC, IDLE, Box, a_box, decoded
from tests.simulator.shape_check import faults

pytestmark = pytest.mark.anyio
POINT = ChargePointId(str(IDLE))
FULL: dict[str, Any] = {
    "kwhLimit": 40.5,
    "socLimit": 90,
    "priceLimit": 30,
    "priceGroupId": 24,
    "partnerCustomPayload": {"lane": [1, 2.5, None]},
    "genericPaymentSession": {
        "provider": "acme",
        "externalId": "K7QM",
        "partnerExternalId": "p",
        "cardBrand": "visa",
        "cardLast4": "4242",
        "amount": 10.1,
    },
}
BARE: dict[str, Any] = dict.fromkeys(
    (
        "kwhLimit",
        "socLimit",
        "priceLimit",
        "priceGroupId",
        "partnerCustomPayload",
        "genericPaymentSession",
        "partnerExternalId",
    )
)


async def shown(box: Box, path: str, kind: str, **query: Any) -> dict[str, Any]:
    """GET that is expected to work and to have the shape `kind`."""
    answer = await box.http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    value = decoded(answer)
    assert faults(kind, value, path) == []
    return value


async def in_state(box: Box, charge_id: int, state: str) -> None:
    """The charge is in `state`, and everything that tells of it has its shape."""
    charge = await shown(box, f"/charges/{charge_id}", "Charge")
    assert charge["state"] == state
    await shown(box, f"/charges/{charge_id}/breakdown", "Breakdown")
    await shown(box, f"/charges/{charge_id}/kwh-consumption", "Consumption")
    await shown(box, f"/charge-points/{charge['chargePointId']}", "Point")
    page = await shown(box, "/charges", "Page")
    assert faults(["Charge"], page["data"]) == []


@pytest.mark.parametrize("fields", [FULL, BARE, {}], ids=["full", "nulls", "least"])
async def test_a_charge_has_its_shape_in_every_state_from_start_to_completed(fields: dict[str, Any]) -> None:
    box = await (await a_box()).subscribe(eventTypes=["charges", "charge-points"])
    charge = await box.start(IDLE, **fields)
    assert faults("Charge", charge) == []
    await in_state(box, charge["id"], "starting")
    await box.pass_time(200)
    await in_state(box, charge["id"], "charging")
    box.sim.pause(POINT)
    await in_state(box, charge["id"], "paused")
    box.sim.resume(POINT)
    await box.pass_time(100)
    assert faults("Charge", await box.stop(charge["id"])) == []
    await in_state(box, charge["id"], "stopping")
    await box.pass_time(3)
    await in_state(box, charge["id"], "stopped")
    await box.pass_time(1)
    await in_state(box, charge["id"], "releasing")
    box.sim.unplug(POINT)
    await in_state(box, charge["id"], "released")
    await box.pass_time(10)
    await in_state(box, charge["id"], "completed")
    await shown(box, f"/receipts/by-charge/{charge['id']}", "Receipt")
    entries = [entry for body in box.received.bodies for entry in _decoded(body)["entries"]]
    told = {entry["payload"]["state"] for entry in entries if entry["entityType"] == "charge"}
    assert told >= {"starting", "charging", "completed"}
    for entry in entries:
        kind = "Charge" if entry["entityType"] == "charge" else "Point"
        assert faults("Event", entry) == []
        assert faults(kind, entry["payload"]) == []


def _decoded(body: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(body, parse_float=Decimal)
    return value


async def test_charges_that_end_otherwise_have_the_same_shape() -> None:
    box = await a_box(start_timeout_s=60)
    failed = await box.start(AC)
    await box.pass_time(60)
    box.sim.fail(ChargePointId(str(AC)))
    await in_state(box, failed["id"], "stopped")
    forced = await box.start(IDLE)
    await box.pass_time(60)
    box.sim.force_stop(POINT)
    await box.pass_time(10)
    await in_state(box, forced["id"], "completed")
    waited = await box.start(906)
    await box.pass_time(70)
    await in_state(box, waited["id"], "completed")
    reserved = await box.start(DC, reserveCharge=True)
    await in_state(box, reserved["id"], "reserved")
    local = box.sim.local_start(ChargePointId("104"))
    await in_state(box, local.id, "starting")


async def test_charge_points_prices_and_the_consumer_have_their_shapes() -> None:
    box = await a_box()
    points = await shown(box, "/charge-points", "Page", perPage=100)
    assert faults(["Point"], points["data"]) == []
    groups = await shown(box, "/price-groups", "Page", teamId=13)
    assert faults(["PriceGroup"], groups["data"]) == []
    for group in groups["data"]:
        await shown(box, f"/price-groups/{group['id']}", "PriceGroup")
        await shown(box, "/prices/forecast", "Forecast", priceGroupId=group["id"])
    await shown(box, "/consumers/me", "Consumer")
    await shown(box, "/auth/me", "Consumer")
    gateway = await a_box(scopes=GATEWAY_SCOPES)
    me = await shown(gateway, "/consumers/me", "Consumer")
    assert me["scopes"] == ["charge-points", "charge-transactions", "control-charging"]


async def test_webhook_configuration_entries_and_signature_have_their_shapes() -> None:
    box = await a_box()
    for change in ({}, {"customHeaders": None}, {"customHeaders": {"headers": {"X-lane": "3"}}}):
        await box.subscribe(**change)
        await shown(box, "/webhooks/config", "WebhookConfig")
    charge = await box.start()
    box.received.status = 500
    await box.pass_time(30)
    for status in ("failed", "pending", "completed"):
        page = await shown(box, "/webhooks/entries", "Page", status=status)
        assert faults(["Entry"], page["data"]) == []
    await shown(box, "/webhooks/entries/1", "Entry")
    answer = await box.http.post("/webhooks/get-signature-detail", json=[{"foo": "bar"}])
    assert faults("Explanation", decoded(answer)) == []
    assert charge["partnerExternalId"] == "ps_1"


async def test_tokens_have_their_shape() -> None:
    box = await a_box()
    config = box.sim.config
    secrets = {"clientId": config.client_id, "clientSecret": config.client_secret}
    token = decoded(await box.http.post("/auth/token", json=secrets))
    renewed = await box.http.post("/auth/refresh", json={"refreshToken": token["refreshToken"]})
    assert faults("Token", token) == []
    assert faults("Token", decoded(renewed)) == []


async def test_refusals_have_the_name_and_the_code_of_their_status() -> None:
    box = await a_box(scopes=frozenset({"charge-transactions:read"}))
    asked = {
        400: ("/charges?perPage=0", "BAD_REQUEST", "BAD_REQUEST"),
        403: ("/webhooks/config", "FORBIDDEN", "ACCESS_FORBIDDEN"),
        404: ("/charges/1", "NOT_FOUND", "RESOURCE_NOT_FOUND"),
        401: ("/charges", "UNAUTHORIZED", "INVALID_ACCESS_TOKEN"),
    }
    for status, (path, word, code) in asked.items():
        if status == 401:
            del box.http.headers["Authorization"]
        answer = await box.http.get(path)
        error = decoded(answer)
        assert (answer.status_code, error["status"], error["errorCode"]) == (status, word, code)
        assert faults("Error", error) == []


async def test_a_bounding_box_holds_all_charge_points_or_none() -> None:
    box = await a_box()
    here = await shown(box, "/charge-points", "Page", boundingBox="55.0,12.0,56.0,13.0")
    elsewhere = await shown(box, "/charge-points", "Page", boundingBox="0,0,1.5,1.5")
    assert here["meta"]["totalItemCount"] == len(box.sim.config.points)
    assert elsewhere["data"] == []
