"""Tests of app/simulator/shapes.

Every answer of the simulator against the tables of Monta's objects, in every state a charge can have.
"""

import json
from decimal import Decimal
from typing import Any

import pytest

from app.domain.units.ids import ChargePointId
from app.simulator.config import GATEWAY_SCOPES
from tests.simulator.rig import AC, DC, IDLE, Rig, a_rig, decoded
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


async def shown(rig: Rig, path: str, kind: str, **query: Any) -> dict[str, Any]:
    """GET that must work and return an object of `kind`."""
    answer = await rig.http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    value = decoded(answer)
    assert faults(kind, value, path) == []
    return value


async def in_state(rig: Rig, charge_id: int, state: str) -> None:
    """The charge is in `state`, and every object that shows it has its required fields."""
    charge = await shown(rig, f"/charges/{charge_id}", "Charge")
    assert charge["state"] == state
    await shown(rig, f"/charges/{charge_id}/breakdown", "Breakdown")
    await shown(rig, f"/charges/{charge_id}/kwh-consumption", "Consumption")
    await shown(rig, f"/charge-points/{charge['chargePointId']}", "Point")
    page = await shown(rig, "/charges", "Page")
    assert faults(["Charge"], page["data"]) == []


@pytest.mark.parametrize("fields", [FULL, BARE, {}], ids=["full", "nulls", "least"])
async def test_a_charge_has_its_shape_in_every_state_from_start_to_completed(fields: dict[str, Any]) -> None:
    rig = await (await a_rig()).subscribe(eventTypes=["charges", "charge-points"])
    charge = await rig.start(IDLE, **fields)
    assert faults("Charge", charge) == []
    await in_state(rig, charge["id"], "starting")
    await rig.pass_time(200)
    await in_state(rig, charge["id"], "charging")
    rig.sim.pause(POINT)
    await in_state(rig, charge["id"], "paused")
    rig.sim.resume(POINT)
    await rig.pass_time(100)
    assert faults("Charge", await rig.stop(charge["id"])) == []
    await in_state(rig, charge["id"], "stopping")
    await rig.pass_time(3)
    await in_state(rig, charge["id"], "stopped")
    await rig.pass_time(1)
    await in_state(rig, charge["id"], "releasing")
    rig.sim.unplug(POINT)
    await in_state(rig, charge["id"], "released")
    await rig.pass_time(10)
    await in_state(rig, charge["id"], "completed")
    await shown(rig, f"/receipts/by-charge/{charge['id']}", "Receipt")
    entries = [entry for body in rig.received.bodies for entry in _decoded(body)["entries"]]
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
    rig = await a_rig(start_timeout_s=60)
    failed = await rig.start(AC)
    await rig.pass_time(60)
    rig.sim.fail(ChargePointId(str(AC)))
    await in_state(rig, failed["id"], "stopped")
    forced = await rig.start(IDLE)
    await rig.pass_time(60)
    rig.sim.force_stop(POINT)
    await rig.pass_time(10)
    await in_state(rig, forced["id"], "completed")
    waited = await rig.start(906)
    await rig.pass_time(70)
    await in_state(rig, waited["id"], "completed")
    reserved = await rig.start(DC, reserveCharge=True)
    await in_state(rig, reserved["id"], "reserved")
    local = rig.sim.local_start(ChargePointId("104"))
    await in_state(rig, local.id, "starting")


async def test_charge_points_prices_and_the_consumer_have_their_shapes() -> None:
    rig = await a_rig()
    points = await shown(rig, "/charge-points", "Page", perPage=100)
    assert faults(["Point"], points["data"]) == []
    groups = await shown(rig, "/price-groups", "Page", teamId=13)
    assert faults(["PriceGroup"], groups["data"]) == []
    for group in groups["data"]:
        await shown(rig, f"/price-groups/{group['id']}", "PriceGroup")
        await shown(rig, "/prices/forecast", "Forecast", priceGroupId=group["id"])
    await shown(rig, "/consumers/me", "Consumer")
    await shown(rig, "/auth/me", "Consumer")
    gateway = await a_rig(scopes=GATEWAY_SCOPES)
    me = await shown(gateway, "/consumers/me", "Consumer")
    assert me["scopes"] == ["charge-points", "charge-transactions", "control-charging"]


async def test_webhook_configuration_entries_and_signature_have_their_shapes() -> None:
    rig = await a_rig()
    for change in ({}, {"customHeaders": None}, {"customHeaders": {"headers": {"X-lane": "3"}}}):
        await rig.subscribe(**change)
        await shown(rig, "/webhooks/config", "WebhookConfig")
    charge = await rig.start()
    rig.received.status = 500
    await rig.pass_time(30)
    for status in ("failed", "pending", "completed"):
        page = await shown(rig, "/webhooks/entries", "Page", status=status)
        assert faults(["Entry"], page["data"]) == []
    await shown(rig, "/webhooks/entries/1", "Entry")
    answer = await rig.http.post("/webhooks/get-signature-detail", json=[{"foo": "bar"}])
    assert faults("Explanation", decoded(answer)) == []
    assert charge["partnerExternalId"] == "ps_1"


async def test_tokens_have_their_shape() -> None:
    rig = await a_rig()
    config = rig.sim.config
    secrets = {"clientId": config.client_id, "clientSecret": config.client_secret}
    token = decoded(await rig.http.post("/auth/token", json=secrets))
    renewed = await rig.http.post("/auth/refresh", json={"refreshToken": token["refreshToken"]})
    assert faults("Token", token) == []
    assert faults("Token", decoded(renewed)) == []


async def test_refusals_have_the_name_and_the_code_of_their_status() -> None:
    rig = await a_rig(scopes=frozenset({"charge-transactions:read"}))
    asked = {
        400: ("/charges?perPage=0", "BAD_REQUEST", "BAD_REQUEST"),
        403: ("/webhooks/config", "FORBIDDEN", "ACCESS_FORBIDDEN"),
        404: ("/charges/1", "NOT_FOUND", "RESOURCE_NOT_FOUND"),
        401: ("/charges", "UNAUTHORIZED", "INVALID_ACCESS_TOKEN"),
    }
    for status, (path, word, code) in asked.items():
        if status == 401:
            del rig.http.headers["Authorization"]
        answer = await rig.http.get(path)
        error = decoded(answer)
        assert (answer.status_code, error["status"], error["errorCode"]) == (status, word, code)
        assert faults("Error", error) == []


async def test_a_bounding_box_holds_all_charge_points_or_none() -> None:
    rig = await a_rig()
    here = await shown(rig, "/charge-points", "Page", boundingBox="55.0,12.0,56.0,13.0")
    elsewhere = await shown(rig, "/charge-points", "Page", boundingBox="0,0,1.5,1.5")
    assert here["meta"]["totalItemCount"] == len(rig.sim.config.points)
    assert elsewhere["data"] == []
