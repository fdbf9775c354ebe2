"""app/simulator/webhooks: Webhooks: configuration, signature, batches, retries, the log, and how they go wrong."""

import json
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from app.domain.units.ids import ChargePointId
from app.simulator.webhooks.outbox import signature
from tests.simulator.rig import AC, DC, HOOK, SECRET, a_rig, decoded

pytestmark = pytest.mark.anyio


def test_the_published_example_is_signed_as_published() -> None:
    assert signature("top-secret", b'{"foo":"bar"}') == "ff401a885877ab7e4665f9e045f9ee2d5876fdb9"
    assert signature("top-secret", b'{"foo": "bar"}') == "d7f7fb0093470143a57bc39a3d9f0bb61fa67131"


async def test_a_delivery_is_signed_over_its_own_bytes_and_carries_the_custom_headers() -> None:
    rig = await (await a_rig()).subscribe(customHeaders={"headers": {"X-Tenant": "7"}})
    await rig.start()
    await rig.pass_time(10)
    body, headers = rig.received.bodies[0], rig.received.headers[0]
    assert headers["X-Monta-Signature"] == f"sha1={signature(SECRET, body)}"
    assert headers["X-Tenant"] == "7"
    delivery = json.loads(body)
    assert set(delivery) == {"entries", "pending", "timestamp"}
    assert b": " not in body.split(b'"location"')[0], "compact"
    assert delivery["timestamp"] == int(rig.sim.deliveries[0].at.timestamp() * 1000)


async def test_an_entry_has_a_string_id_an_event_time_and_the_charge_as_it_was_then() -> None:
    rig = await (await a_rig()).subscribe()
    charge = await rig.start()
    await rig.pass_time(10)
    first, second = rig.received.entries[:2]
    assert (first["entityType"], first["entityId"]) == ("charge", str(charge["id"]))
    assert (first["eventType"], second["eventType"]) == ("created", "updated")
    assert first["eventTime"] == "2026-11-22T10:00:00.000Z"
    assert first["payload"]["state"] == "starting", "although it is charging by the time of the delivery"
    assert second["payload"]["state"] == "charging"
    assert first["payload"]["partnerExternalId"] == "ps_1"


async def test_deliveries_come_on_a_two_second_cadence_about_two_seconds_after_the_event() -> None:
    rig = await (await a_rig()).subscribe()
    for point_id in (AC, DC):
        await rig.start(point_id, partnerExternalId=f"ps_{point_id}")
    await rig.pass_time(600)
    opened = rig.sim.deliveries[0].at.replace(minute=0, second=0)
    assert all((delivery.at - opened).total_seconds() % 2 == 0 for delivery in rig.sim.deliveries)
    delays = [
        (delivery.at - datetime.fromisoformat(entry["eventTime"])).total_seconds()
        for delivery in rig.sim.deliveries
        for entry in json.loads(delivery.body)["entries"]
    ]
    assert all(1 <= delay <= 3 for delay in delays)


@pytest.mark.parametrize(("tells_meters", "fewest", "most"), [(True, 10, 12), (False, 2, 3)])
async def test_a_charge_point_is_told_at_each_reading_or_only_when_its_state_changes(
    tells_meters: bool, fewest: int, most: int
) -> None:
    rig = await (await a_rig(tells_points_meters=tells_meters)).subscribe(eventTypes=["charge-points"])
    await rig.start()
    await rig.pass_time(600)
    states = [entry["payload"]["state"] for entry in rig.received.entries]
    assert sorted(set(states), key=states.index) == ["busy", "busy-charging"]
    assert fewest <= len(states) <= most


async def test_pending_says_how_many_wait_beyond_the_batch() -> None:
    rig = await (await a_rig(webhook_batch_max=1)).subscribe()
    await rig.start()
    await rig.start(DC, partnerExternalId="ps_2")
    await rig.pass_time(2)
    assert json.loads(rig.received.bodies[0])["pending"] == 1
    await rig.pass_time(2)
    assert len(rig.received.bodies) == 2


@pytest.mark.parametrize("status", [500, 204, 302, None])
async def test_anything_but_200_is_repeated_as_a_whole_every_minute_with_a_fresh_timestamp(
    status: int | None,
) -> None:
    rig = await (await a_rig()).subscribe()
    rig.received.status = status
    await rig.start()
    await rig.pass_time(2 + 120)
    attempts = [line for line in rig.sim.deliveries if line.entry_ids == rig.sim.deliveries[0].entry_ids]
    gaps = [(later.at - one.at).total_seconds() for one, later in pairwise(attempts)]
    assert gaps == [60.0, 60.0]
    stamps = {json.loads(line.body)["timestamp"] for line in attempts}
    assert len(stamps) == 3
    failed = decoded(await rig.http.get("/webhooks/entries?status=failed"))["data"]
    assert failed[-1]["error"]["errorCode"] == str(status or "NO_ANSWER")
    rig.received.status = 200
    await rig.pass_time(60)
    assert decoded(await rig.http.get("/webhooks/entries?status=failed"))["data"] == []
    assert len(rig.received.entries) >= len(attempts[0].entry_ids)


async def test_after_24_hours_an_event_is_lost() -> None:
    rig = await (await a_rig()).subscribe()
    rig.received.status = None
    rig.sim.unplug(ChargePointId(str(AC)))
    await rig.start()
    await rig.pass_time(86_400 + 10)
    tries = len(rig.sim.deliveries)
    await rig.pass_time(600)
    assert len(rig.sim.deliveries) == tries
    assert tries == 1440 + 1
    assert decoded(await rig.http.get("/webhooks/entries"))["data"] == []


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
    rig = await a_rig()
    answer = await rig.http.put("/webhooks/config", json=HOOK | change)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(field)
    assert (await rig.http.get("/webhooks/config")).status_code == 404


async def test_the_config_is_kept_replaced_and_deleted() -> None:
    rig = await (await a_rig(allows_http_loopback=True)).subscribe()
    shown = (await rig.http.get("/webhooks/config")).json()
    assert shown["webhookSecret"] == SECRET
    local = await rig.http.put("/webhooks/config", json=HOOK | {"webhookUrl": "http://127.0.0.1:8000/hook"})
    assert local.status_code == 200
    container = HOOK | {"webhookUrl": "http://api:8000/hook"}
    assert (await rig.http.put("/webhooks/config", json=container)).status_code == 400
    assert (await rig.http.delete("/webhooks/config")).status_code == 204
    assert (await rig.http.delete("/webhooks/config")).status_code == 404


async def test_between_containers_webhooks_go_to_plain_http_where_that_is_allowed() -> None:
    rig = await (await a_rig(allows_plain_http=True)).subscribe(webhookUrl="http://api:8000/hook")
    assert (await rig.http.get("/webhooks/config")).json()["webhookUrl"] == "http://api:8000/hook"


async def test_events_of_other_teams_or_types_are_not_delivered() -> None:
    rig = await (await a_rig()).subscribe(teamIds=[999])
    await rig.start()
    await rig.pass_time(60)
    assert rig.received.bodies == []
    await rig.subscribe(eventTypes=["charge-points"])
    rig.sim.unplug(ChargePointId(str(AC)))
    await rig.pass_time(5)
    assert {entry["entityType"] for entry in rig.received.entries} == {"charge-point"}
    assert rig.received.entries[-1]["payload"]["cablePluggedIn"] is False


async def test_the_log_has_pages_and_single_entries() -> None:
    rig = await (await a_rig()).subscribe()
    await rig.start()
    pending = decoded(await rig.http.get("/webhooks/entries?status=pending"))["data"]
    assert [row["eventType"] for row in pending] == ["charges"]
    await rig.pass_time(5)
    row = decoded(await rig.http.get(f"/webhooks/entries/{pending[0]['id']}"))
    assert row["status"] == "completed"
    assert row["payload"]["entityType"] == "charge"
    assert (await rig.http.get("/webhooks/entries/99999")).status_code == 404
    assert (await rig.http.get("/webhooks/entries?status=lost")).status_code == 400


async def test_a_signature_is_explained_over_the_compact_payload() -> None:
    rig = await (await a_rig()).subscribe()
    answer = await rig.http.post(
        "/webhooks/get-signature-detail?webhookSecret=top-secret&includeSecrets=true",
        content=b'[{"foo": "bar"}]',
    )
    shown = answer.json()
    assert shown["receivedPayloadString"] == '[{"foo":"bar"}]'
    assert shown["signatureWithPrefix"] == "sha1=" + signature("top-secret", b'[{"foo":"bar"}]')
    assert shown["webhookSecret"] == "top-secret"


async def test_webhooks_can_be_lost_by_chance_and_signed_wrongly() -> None:
    rig = await (await a_rig()).subscribe()
    rig.sim.faults.webhook_loss = 0.5
    charge = await rig.start()
    await rig.pass_time(3000)
    shown = len(rig.received.entries)
    assert 10 < shown < 45
    assert rig.sim.counters["webhooks_lost"] + shown >= 50
    rig.sim.faults.webhook_loss = 0.0
    rig.sim.faults.forged_signatures = 1
    rig.received.bodies.clear()
    rig.received.headers.clear()
    await rig.stop(charge["id"])
    await rig.pass_time(10)
    signed = [
        headers["X-Monta-Signature"] == f"sha1={signature(SECRET, body)}"
        for headers, body in zip(rig.received.headers, rig.received.bodies, strict=True)
    ]
    assert signed[0] is False
    assert all(signed[1:])
