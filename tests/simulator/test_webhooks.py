"""app/simulator/webhooks: Webhooks: configuration, signature, batches, retries, the log, and how they go wrong."""

import json
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from app.domain.units.ids import ChargePointId
from app.simulator.webhooks.outbox import signature
from tests.simulator.box import AC, DC, HOOK, SECRET, a_box, decoded

pytestmark = pytest.mark.anyio


def test_the_published_example_is_signed_as_published() -> None:
    assert signature("top-secret", b'{"foo":"bar"}') == "ff401a885877ab7e4665f9e045f9ee2d5876fdb9"
    assert signature("top-secret", b'{"foo": "bar"}') == "d7f7fb0093470143a57bc39a3d9f0bb61fa67131"


async def test_a_delivery_is_signed_over_its_own_bytes_and_carries_the_custom_headers() -> None:
    box = await (await a_box()).subscribe(customHeaders={"headers": {"X-Tenant": "7"}})
    await box.start()
    await box.pass_time(10)
    body, headers = box.received.bodies[0], box.received.headers[0]
    assert headers["X-Monta-Signature"] == f"sha1={signature(SECRET, body)}"
    assert headers["X-Tenant"] == "7"
    delivery = json.loads(body)
    assert set(delivery) == {"entries", "pending", "timestamp"}
    assert b": " not in body.split(b'"location"')[0], "compact"
    assert delivery["timestamp"] == int(box.sim.deliveries[0].at.timestamp() * 1000)


async def test_an_entry_has_a_string_id_an_event_time_and_the_charge_as_it_was_then() -> None:
    box = await (await a_box()).subscribe()
    charge = await box.start()
    await box.pass_time(10)
    first, second = box.received.entries[:2]
    assert (first["entityType"], first["entityId"]) == ("charge", str(charge["id"]))
    assert (first["eventType"], second["eventType"]) == ("created", "updated")
    assert first["eventTime"] == "2026-11-22T10:00:00.000Z"
    assert first["payload"]["state"] == "starting", "although it is charging by the time of the delivery"
    assert second["payload"]["state"] == "charging"
    assert first["payload"]["partnerExternalId"] == "ps_1"


async def test_deliveries_come_on_a_two_second_cadence_about_two_seconds_after_the_event() -> None:
    box = await (await a_box()).subscribe()
    for point_id in (AC, DC):
        await box.start(point_id, partnerExternalId=f"ps_{point_id}")
    await box.pass_time(600)
    opened = box.sim.deliveries[0].at.replace(minute=0, second=0)
    assert all((delivery.at - opened).total_seconds() % 2 == 0 for delivery in box.sim.deliveries)
    delays = [
        (delivery.at - datetime.fromisoformat(entry["eventTime"])).total_seconds()
        for delivery in box.sim.deliveries
        for entry in json.loads(delivery.body)["entries"]
    ]
    assert all(1 <= delay <= 3 for delay in delays)


async def test_pending_says_how_many_wait_beyond_the_batch() -> None:
    box = await (await a_box(webhook_batch_max=1)).subscribe()
    await box.start()
    await box.start(DC, partnerExternalId="ps_2")
    await box.pass_time(2)
    assert json.loads(box.received.bodies[0])["pending"] == 1
    await box.pass_time(2)
    assert len(box.received.bodies) == 2


@pytest.mark.parametrize("status", [500, 204, 302, None])
async def test_anything_but_200_is_repeated_as_a_whole_every_minute_with_a_fresh_timestamp(
    status: int | None,
) -> None:
    box = await (await a_box()).subscribe()
    box.received.status = status
    await box.start()
    await box.pass_time(2 + 120)
    attempts = [line for line in box.sim.deliveries if line.entry_ids == box.sim.deliveries[0].entry_ids]
    gaps = [(later.at - one.at).total_seconds() for one, later in pairwise(attempts)]
    assert gaps == [60.0, 60.0]
    stamps = {json.loads(line.body)["timestamp"] for line in attempts}
    assert len(stamps) == 3
    failed = decoded(await box.http.get("/webhooks/entries?status=failed"))["data"]
    assert failed[-1]["error"]["errorCode"] == str(status or "NO_ANSWER")
    box.received.status = 200
    await box.pass_time(60)
    assert decoded(await box.http.get("/webhooks/entries?status=failed"))["data"] == []
    assert len(box.received.entries) >= len(attempts[0].entry_ids)


async def test_after_24_hours_an_event_is_lost() -> None:
    box = await (await a_box()).subscribe()
    box.received.status = None
    box.sim.unplug(ChargePointId(str(AC)))
    await box.start()
    await box.pass_time(86_400 + 10)
    tries = len(box.sim.deliveries)
    await box.pass_time(600)
    assert len(box.sim.deliveries) == tries
    assert tries == 1440 + 1
    assert decoded(await box.http.get("/webhooks/entries"))["data"] == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"webhookUrl": "http://partner.example/hook"}, "webhookUrl"),
        ({"webhookUrl": "http://127.0.0.1:8000/hook"}, "webhookUrl"),
        ({"webhookUrl": "https://hooks.monta.com/x"}, "webhookUrl"),
        ({"webhookUrl": "https://partner.example/" + "x" * 191}, "webhookUrl"),
        ({"webhookUrl": None}, "webhookUrl"),
        ({"webhookSecret": "short"}, "webhookSecret"),
        ({"webhookSecret": "x" * 192}, "webhookSecret"),
        ({"eventTypes": None}, "eventTypes"),
        ({"eventTypes": ["charge"]}, "eventTypes"),
        ({"eventTypes": "charges"}, "eventTypes"),
        ({"customHeaders": {"headers": {"Authorization": "x"}}}, "customHeaders"),
        ({"customHeaders": {"headers": {f"X-{n}": "x" for n in range(6)}}}, "customHeaders"),
        ({"teamIds": ["13"]}, "teamIds"),
    ],
)
async def test_a_webhook_config_that_breaks_a_constraint_is_a_400(change: dict[str, Any], field: str) -> None:
    box = await a_box()
    answer = await box.http.put("/webhooks/config", json=HOOK | change)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(field)
    assert (await box.http.get("/webhooks/config")).status_code == 404


async def test_the_config_is_kept_replaced_and_deleted() -> None:
    box = await (await a_box(allows_http_loopback=True)).subscribe()
    shown = (await box.http.get("/webhooks/config")).json()
    assert shown["webhookSecret"] == SECRET
    local = await box.http.put("/webhooks/config", json=HOOK | {"webhookUrl": "http://127.0.0.1:8000/hook"})
    assert local.status_code == 200
    assert (await box.http.delete("/webhooks/config")).status_code == 204
    assert (await box.http.delete("/webhooks/config")).status_code == 404


async def test_events_of_other_teams_or_types_are_not_delivered() -> None:
    box = await (await a_box()).subscribe(teamIds=[999])
    await box.start()
    await box.pass_time(60)
    assert box.received.bodies == []
    await box.subscribe(eventTypes=["charge-points"])
    box.sim.unplug(ChargePointId(str(AC)))
    await box.pass_time(5)
    assert {entry["entityType"] for entry in box.received.entries} == {"charge-point"}
    assert box.received.entries[-1]["payload"]["cablePluggedIn"] is False


async def test_the_log_has_pages_and_single_entries() -> None:
    box = await (await a_box()).subscribe()
    await box.start()
    pending = decoded(await box.http.get("/webhooks/entries?status=pending"))["data"]
    assert [row["eventType"] for row in pending] == ["charges"]
    await box.pass_time(5)
    row = decoded(await box.http.get(f"/webhooks/entries/{pending[0]['id']}"))
    assert row["status"] == "completed"
    assert row["payload"]["entityType"] == "charge"
    assert (await box.http.get("/webhooks/entries/99999")).status_code == 404
    assert (await box.http.get("/webhooks/entries?status=lost")).status_code == 400


async def test_a_signature_is_explained_over_the_compact_payload() -> None:
    box = await (await a_box()).subscribe()
    answer = await box.http.post(
        "/webhooks/get-signature-detail?webhookSecret=top-secret&includeSecrets=true",
        content=b'[{"foo": "bar"}]',
    )
    shown = answer.json()
    assert shown["receivedPayloadString"] == '[{"foo":"bar"}]'
    assert shown["signatureWithPrefix"] == "sha1=" + signature("top-secret", b'[{"foo":"bar"}]')
    assert shown["webhookSecret"] == "top-secret"


async def test_webhooks_can_be_lost_by_chance_and_signed_wrongly() -> None:
    box = await (await a_box()).subscribe()
    box.sim.faults.webhook_loss = 0.5
    charge = await box.start()
    await box.pass_time(3000)
    shown = len(box.received.entries)
    assert 10 < shown < 45
    assert box.sim.counters["webhooks_lost"] + shown >= 50
    box.sim.faults.webhook_loss = 0.0
    box.sim.faults.forged_signatures = 1
    box.received.bodies.clear()
    box.received.headers.clear()
    await box.stop(charge["id"])
    await box.pass_time(10)
    signed = [
        headers["X-Monta-Signature"] == f"sha1={signature(SECRET, body)}"
        for headers, body in zip(box.received.headers, box.received.bodies, strict=True)
    ]
    assert signed[0] is False
    assert all(signed[1:])
