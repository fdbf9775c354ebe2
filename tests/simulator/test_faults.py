"""app/simulator/faults: Programmed faults, the server's own loop, and that a seed fixes the history."""

import asyncio
from collections.abc import MutableMapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.domain.units.ids import ChargePointId
from app.simulator.faults.catalog import FaultKind
from app.simulator.server import SimulatorServer, about, default_config
from tests.simulator.rig import AC, CONFIG, DC, HOOK, Received, Rig, a_rig, start_body
from tests.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


async def test_only_the_next_matching_requests_get_the_fault() -> None:
    rig = await a_rig()
    rig.sim.faults.next("POST", "/charges", FaultKind.FAILED_THOUGH_DONE)
    rig.sim.faults.next("GET", "/charges/*/stop", FaultKind.UNAVAILABLE, times=2)
    assert (await rig.http.get("/charges")).status_code == 200
    assert (await rig.post_charge()).status_code == 502
    charge = (await rig.search())[0]
    for expected in (503, 503, 200):
        assert (await rig.http.get(f"/charges/{charge['id']}/stop")).status_code == expected
    assert rig.sim.counters["stops_asked"] == 1
    assert [line.fault_kind for line in rig.sim.requests if line.fault_kind] == [
        FaultKind.FAILED_THOUGH_DONE,
        FaultKind.UNAVAILABLE,
        FaultKind.UNAVAILABLE,
    ]


async def test_a_lost_request_does_nothing_though_it_looks_like_a_lost_answer() -> None:
    rig = await a_rig()
    rig.sim.faults.next("POST", "/charges", FaultKind.REQUEST_LOST)
    with pytest.raises(httpx.RemoteProtocolError):
        await rig.post_charge()
    assert rig.sim.charges() == []


async def test_an_outage_has_a_beginning_and_an_end_and_charges_go_on_meanwhile() -> None:
    rig = await a_rig()
    charge = await rig.start(DC)
    now = rig.clock.now()
    rig.sim.faults.between(now + timedelta(seconds=60), now + timedelta(seconds=660), FaultKind.UNREACHABLE)
    await rig.pass_time(60)
    before = rig.sim.charges()[0].metered_wh
    with pytest.raises(httpx.ConnectError):
        await rig.read(charge["id"])
    assert rig.sim.requests[-1].status is None
    await rig.pass_time(600)
    assert (await rig.read(charge["id"]))["state"] == "charging"
    assert rig.sim.charges()[0].metered_wh > before + 5000


async def test_a_storm_of_429_on_stops_leaves_reads_alone() -> None:
    rig = await a_rig()
    charge = await rig.start()
    now = rig.clock.now()
    rig.sim.faults.between(
        now, now + timedelta(seconds=30), FaultKind.THROTTLED, path="/charges/*/stop", seconds=7
    )
    stop = await rig.http.get(f"/charges/{charge['id']}/stop")
    assert (stop.status_code, stop.headers["RateLimit-ResetsIn"]) == (429, "7")
    assert (await rig.http.get(f"/charges/{charge['id']}")).status_code == 200
    rig.sim.faults.clear()
    assert (await rig.http.get(f"/charges/{charge['id']}/stop")).status_code == 200


async def test_a_429_while_the_quota_is_used_up_names_the_end_of_its_window() -> None:
    rig = await a_rig(replace(CONFIG, rate_limit=2))
    charge = await rig.start()
    rig.sim.faults.next("GET", "/charges/*/stop", FaultKind.THROTTLED, times=2)
    window_s = CONFIG.rate_window_s
    left_s = window_s - int(rig.clock.now().timestamp()) % window_s
    for _ in range(2):
        stop = await rig.http.get(f"/charges/{charge['id']}/stop")
        assert (stop.status_code, stop.headers["RateLimit-ResetsIn"]) == (429, str(left_s))


async def test_the_search_may_lag_behind() -> None:
    rig = await a_rig()
    rig.sim.faults.search_lag_s = 30
    charge = await rig.start()
    assert await rig.search(partnerExternalId="ps_1") == []
    assert (await rig.read(charge["id"]))["id"] == charge["id"]
    await rig.pass_time(30)
    assert len(await rig.search(partnerExternalId="ps_1")) == 1


async def test_a_slow_answer_waits_on_the_clock_while_the_charge_has_started() -> None:
    rig = await a_rig()
    asked = asyncio.create_task(rig.post_charge(920))
    await rig.clock.advance(19)
    assert not asked.done()
    assert len(rig.sim.charges(ChargePointId("920"))) == 1
    await rig.clock.advance(1)
    assert (await asked).status_code == 200


async def test_a_token_may_die_while_its_refresh_token_lives() -> None:
    rig = await a_rig()
    rig.sim.tokens.expire_access()
    assert (await rig.post_charge()).status_code == 401
    assert rig.sim.charges() == []
    await rig.login()
    await rig.start()


async def history(seed: int, meter_interval_s: float = 60) -> list[Any]:
    """Everything visible of a busy hour."""
    points = tuple(replace(point, meter_interval_s=meter_interval_s) for point in default_config().points)
    rig = await (await a_rig(replace(CONFIG, points=points, seed=seed))).subscribe()
    rig.sim.faults.webhook_loss = 0.2
    for point_id in (101, 104, 106, 907, 908, 911, 913, 916, 918, 921):
        await rig.start(point_id, partnerExternalId=f"ps_{point_id}", priceLimit=8)
    await rig.pass_time(2500)
    for charge in rig.sim.charges():
        await rig.stop(charge.id)
    await rig.pass_time(400)
    return [rig.received.bodies, [str(line) for line in rig.sim.requests], await rig.search(perPage=100)]


async def test_the_same_seed_gives_the_same_history_to_the_byte() -> None:
    assert await history(5) == await history(5)


async def test_another_seed_gives_another_history() -> None:
    assert await history(5) != await history(6)


async def test_stepping_finely_or_coarsely_gives_the_same_deliveries() -> None:
    bodies = []
    for step_s in (1, 600):
        rig = await (await a_rig()).subscribe()
        await rig.start(DC, kwhLimit=10)
        for _ in range(1200 // step_s):
            now = rig.clock.now() + timedelta(seconds=step_s)
            rig.clock.set(now)
            await rig.sim.run_until(now)
        bodies.append(rig.received.bodies)
    assert bodies[0] == bodies[1]


async def test_as_a_server_the_simulator_runs_from_startup_to_shutdown() -> None:
    clock, received = VirtualClock(), Received()
    server = SimulatorServer(replace(CONFIG, seed=3), clock, received)
    inbox: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
    outbox: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
    lifespan = asyncio.create_task(server({"type": "lifespan"}, inbox.get, outbox.put))
    await inbox.put({"type": "lifespan.startup"})
    assert (await outbox.get())["type"] == "lifespan.startup.complete"
    config = server.simulator.config
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(server),
        base_url=about(config, "http://simulator")["monta_url"].__str__(),
    ) as http:
        secrets = {"clientId": config.client_id, "clientSecret": config.client_secret}
        token = (await http.post("/auth/token", json=secrets)).json()["accessToken"]
        http.headers["Authorization"] = f"Bearer {token}"
        await http.put("/webhooks/config", json=HOOK)
        await http.post("/charges", json=start_body(AC))
        await clock.advance(120)
    assert {entry["payload"]["state"] for entry in received.entries} == {"starting", "charging"}
    await inbox.put({"type": "lifespan.shutdown"})
    await lifespan
    assert (await outbox.get())["type"] == "lifespan.shutdown.complete"
    sent = len(received.bodies)
    await clock.advance(600)
    assert len(received.bodies) == sent


async def test_the_facts_for_a_gateway_are_complete() -> None:
    config = default_config()
    told = about(config, "http://127.0.0.1:9000")
    assert told == {
        "monta_url": "http://127.0.0.1:9000/api/v1",
        "client_id": config.client_id,
        "client_secret": config.client_secret,
        "paying_team_id": 4711,
    }
    assert "secret" not in repr(config).replace("client_secret", "")


async def test_virtual_sleepers_wake_in_order_of_their_time() -> None:
    clock, woken = VirtualClock(), list[tuple[str, float]]()

    async def sleeper(name: str, *naps: float) -> None:
        for seconds in naps:
            await clock.sleep(seconds)
            woken.append((name, clock.monotonic()))

    tasks = [asyncio.create_task(sleeper("a", 3, 3)), asyncio.create_task(sleeper("b", 1, 4, 60))]
    await clock.advance(10)
    assert woken == [("b", 1.0), ("a", 3.0), ("b", 5.0), ("a", 6.0)]
    assert clock.monotonic() == 10.0
    await clock.advance(60)
    await asyncio.gather(*tasks)
    assert isinstance(Rig().clock, VirtualClock)
