"""Tests of app/watcher.

Webhooks about charge points and price groups: seen by terminals within seconds, in order, and nothing breaks.
"""

import hashlib
import hmac
import json
import random
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from app.domain.charging.charge_point import Place
from app.domain.units.ids import ChargePointId
from app.store.operators.names import places_of
from tests.journeys.rig import Json, Rig, open_rig

pytestmark = pytest.mark.anyio


async def point(rig: Rig, point_id: str = "101") -> Json:
    shown: Json = (await rig.call("GET", f"/v1/charge-points/{point_id}")).json()
    return shown


def news(rig: Rig, *, at_s: float = 0, event_s: float | None = None, **payload: object) -> Json:
    """An entry about charge point 101 whose record was updated `at_s` from now."""
    updated = (rig.clock.now() + timedelta(seconds=at_s)).isoformat()
    event = (rig.clock.now() + timedelta(seconds=at_s if event_s is None else event_s)).isoformat()
    return {
        "entityType": "charge-point",
        "entityId": "101",
        "eventType": "updated",
        "eventTime": event,
        "payload": {"id": 101, "updatedAt": updated} | payload,
    }


async def deliver(rig: Rig, *entries: Json) -> None:
    body = json.dumps({"entries": list(entries), "pending": 0}).encode()
    signed = hmac.new(rig.operator.webhook_secret.encode(), body, hashlib.sha1).hexdigest()
    headers = {"X-Monta-Signature": f"sha1={signed}"}
    answer = await rig.http.post(rig.operator.webhook_path, content=body, headers=headers)
    assert answer.status_code == 200
    await rig.work()


async def parked_and_pending(rig: Rig) -> tuple[int, int]:
    query = "SELECT count(*) FILTER (WHERE problem IS NOT NULL), count(*) FILTER (WHERE problem IS NULL) FROM inbox"
    async with rig.context.database.transaction() as connection:
        found = (
            await connection.execute(text(f"{query} WHERE applied_at IS NULL AND charge_id IS NULL"))
        ).one()
    return found[0], found[1]


async def test_F113_terminals_see_a_charge_points_state_within_seconds(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        assert (await point(rig, "106"))["state"] == "available"
        await rig.authorize(106, 1000)
        await rig.pass_time(60)
        assert (await point(rig, "106"))["state"] == "busy-charging"
        rig.monta.set_offline(ChargePointId("102"), True)
        await rig.pass_time(6)
        assert (await point(rig, "102"))["state"] == "disconnected"
        assert (await parked_and_pending(rig)) == (0, 0)
        assert rig.calls("GET", "/charge-points") <= 2


async def test_F113_all_that_is_kept_of_a_charge_point_follows_its_webhooks(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        before = await point(rig)
        await rig.pass_time(5)
        connectors = [{"id": 1, "identifier": "ccs", "name": "CCS"}]
        await deliver(
            rig, news(rig, state="maintenance", name="Bay 9", maxKw=150, connectors=connectors, type="dc")
        )
        shown = await point(rig)
        assert (shown["state"], shown["name"], shown["max_power_w"]) == ("maintenance", "Bay 9", 150_000)
        assert "ccs" in json.dumps(shown["connectors"]).lower()
        await rig.pass_time(1)
        await deliver(rig, news(rig, state="available"))
        assert (await point(rig))["name"] == "Bay 9"
        await rig.pass_time(1)
        wrong: Json = {"state": 7, "name": ["x"], "maxKw": -4, "connectors": "none", "cablePluggedIn": "yes"}
        await deliver(rig, news(rig, **wrong))
        last = await point(rig)
        assert last["state_seen_at"] > shown["state_seen_at"]
        assert last == shown | {"state": "available", "state_seen_at": last["state_seen_at"]}
        await rig.pass_time(1)
        await deliver(rig, news(rig, deletedAt=rig.clock.now().isoformat()))
        assert (await point(rig))["state"] == "other"
        await rig.pass_time(1000)
        assert (await point(rig))["name"] == before["name"]
        assert (await point(rig))["state"] == "available"


@pytest.mark.parametrize("seed", range(5))
async def test_F113_the_newest_report_counts_in_whatever_order_and_however_often_they_come(
    database_url: str, seed: int
) -> None:
    async with open_rig(database_url) as rig:
        await rig.pass_time(100)
        rng = random.Random(seed)
        states = ["busy", "busy-charging", "busy-non-charging", "error", "available", "maintenance"]
        entries = [news(rig, at_s=-60 + 10 * n, state=state) for n, state in enumerate(states)]
        told = entries + entries[:3]
        rng.shuffle(told)
        for entry in told:
            await deliver(rig, entry)
            await rig.pass_time(rng.choice([0, 1]))
        assert (await point(rig))["state"] == "maintenance"
        same_second = [
            news(rig, at_s=-1, event_s=-0.5, state="busy"),
            news(rig, at_s=-1, event_s=-0.7, state="error"),
        ]
        rng.shuffle(same_second)
        for entry in same_second:
            await deliver(rig, entry)
        assert (await point(rig))["state"] == "busy"


@pytest.mark.parametrize("ahead_s", [-400_000_000, -600, 600, 80_000, 400_000_000])
async def test_F113_a_clock_that_is_wrong_at_monta_keeps_no_state_for_long(
    database_url: str, ahead_s: float
) -> None:
    """A date from ahead counts as of its arrival; what looks old is read from the record, once a minute at most."""
    async with open_rig(database_url) as rig:
        await rig.pass_time(120)
        before = rig.calls("GET", "/charge-points/101")
        for _ in range(20):
            rig.monta.set_offline(ChargePointId("101"), True)
            await rig.pass_time(1)
            await deliver(rig, news(rig, at_s=ahead_s, state="disconnected"))
            assert (await point(rig))["state"] == "disconnected"
        assert rig.calls("GET", "/charge-points/101") - before <= 2
        rig.monta.set_offline(ChargePointId("101"), False)
        await rig.pass_time(6)
        assert (await point(rig))["state"] == "available"


async def test_F113_foreign_and_malformed_entries_harm_nothing(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        good = news(rig, at_s=1, state="error")
        foreign = good | {"entityId": "777001", "payload": good["payload"] | {"id": 777001}}
        bad = [
            good | {"payload": None},
            good | {"payload": []},
            good | {"entityId": "102"},
            good | {"payload": {"id": "x"}, "entityId": None},
            good | {"payload": {"id": -1}, "entityId": "-1"},
        ]
        group = {"entityType": "price-group", "entityId": "99999", "eventType": "updated", "payload": {}}
        await rig.pass_time(5)
        await deliver(rig, *bad, foreign, group, good)
        assert (await point(rig))["state"] == "error"
        assert (await point(rig, "102"))["state"] == "available"
        assert await parked_and_pending(rig) == (len(bad), 0)
        gone = good | {"payload": None, "eventType": "deleted"}
        await rig.pass_time(5)
        await deliver(rig, gone | {"eventTime": rig.clock.now().isoformat()})
        assert (await point(rig))["state"] == "other"


async def test_F113_a_price_group_that_changes_is_read_soon_and_once_a_minute_at_most(
    database_url: str,
) -> None:
    async with open_rig(database_url) as rig:
        await rig.pass_time(120)
        before = rig.calls("GET", "/price-groups/21")
        rig.monta.set_kwh_price(21, Decimal("0.99"))
        changed = {
            "entityType": "price-group",
            "entityId": "21",
            "eventType": "updated",
            "payload": {"id": 21},
        }
        await deliver(rig, changed | {"eventTime": rig.clock.now().isoformat()})
        components = [c for e in (await point(rig))["price"]["elements"] for c in e["price_components"]]
        assert "0.99" in {str(c["price"]) for c in components}
        for _ in range(60):
            await rig.pass_time(1)
            await deliver(rig, changed | {"eventTime": rig.clock.now().isoformat()})
        assert 1 <= rig.calls("GET", "/price-groups/21") - before <= 3
        rig.monta.set_kwh_price(21, Decimal("0.59"))
        await rig.pass_time(1)
        await deliver(rig, changed | {"eventTime": rig.clock.now().isoformat()})
        await rig.pass_time(70)
        components = [c for e in (await point(rig))["price"]["elements"] for c in e["price_components"]]
        assert "0.59" in {str(c["price"]) for c in components}


async def test_F113_a_new_price_group_of_a_charge_point_is_read_at_once(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        await rig.pass_time(10)
        assert (await point(rig))["price"]["id"] == "monta-pg-21"
        await deliver(rig, news(rig, priceGroupId=25))
        assert (await point(rig))["price"]["id"] == "monta-pg-25"


async def test_where_a_charge_point_is_comes_with_its_record_and_with_webhooks(database_url: str) -> None:
    async with open_rig(database_url) as rig:
        point_id = (rig.operator.operator_id, ChargePointId("101"))

        async def shown() -> Place:
            async with rig.context.database.read() as connection:
                return (await places_of(connection, [point_id]))[point_id]

        place = await shown()
        assert (place.evse_id, place.address) == ("DK*BOX*E101", "1 Test Street, 1000 Boxville")
        assert place.site_id is not None
        await deliver(rig, news(rig, at_s=1, evseId="DK*BOX*E999", location={"addressLabel": "2 New Street"}))
        assert await shown() == replace(place, evse_id="DK*BOX*E999", address="2 New Street")
