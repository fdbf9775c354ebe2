"""A rig under virtual time, and a client that holds a token: what the simulator's tests are written with."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx

from app.simulator.charge_points import MAGIC_POINTS, PRICE_GROUPS
from app.simulator.config import Driver, PointConfig, SimulatorConfig
from app.simulator.simulator import Simulator
from tests.simulator_transport import SimulatorTransport
from tests.virtual_clock import VirtualClock

STAYS = Driver()
"""A car is plugged in; its driver does nothing by default."""
AC, DC, IDLE = 102, 106, 105
POINTS = (
    PointConfig(id=AC, name="AC 11 kW", max_w=11_000, price_group_id=21, driver=STAYS),
    PointConfig(id=IDLE, name="With idle fee", max_w=22_000, price_group_id=24, driver=STAYS),
    PointConfig(
        id=DC,
        name="DC 300 kW",
        max_w=300_000,
        price_group_id=25,
        direct_current=True,
        ramp_s=15,
        driver=STAYS,
    ),
    PointConfig(id=104, name="Minute fee", max_w=11_000, price_group_id=23, driver=STAYS),
    PointConfig(id=103, name="Start fee", max_w=11_000, price_group_id=22, meter_step_wh=500, driver=STAYS),
)
CONFIG = SimulatorConfig(points=POINTS + MAGIC_POINTS, price_groups=PRICE_GROUPS)
SECRET = "a secret of more than 16 characters"
HOOK = {"webhookUrl": "https://partner.example/hook", "webhookSecret": SECRET, "eventTypes": ["charges"]}


@dataclass
class Received:
    """The partner's end of the webhooks: answers `status`, or not at all when it is None."""

    status: int | None = 200
    bodies: list[bytes] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)

    async def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        assert url == HOOK["webhookUrl"]
        if self.status is None:
            raise ConnectionError("connection refused")
        self.bodies.append(body)
        self.headers.append(headers)
        return self.status

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [entry for body in self.bodies for entry in json.loads(body)["entries"]]


class Rig:
    """A simulator, its clock, its client, and the receiver of its webhooks."""

    def __init__(self, config: SimulatorConfig = CONFIG, **changes: Any) -> None:
        self.clock = VirtualClock()
        self.received = Received()
        self.sim = Simulator(replace(config, **changes), self.clock, self.received)
        self.http = httpx.AsyncClient(
            transport=SimulatorTransport(self.sim), base_url="http://monta.test/api/v1"
        )

    async def login(self) -> "Rig":
        config = self.sim.config
        answer = await self.http.post(
            "/auth/token", json={"clientId": config.client_id, "clientSecret": config.client_secret}
        )
        self.http.headers["Authorization"] = f"Bearer {answer.json()['accessToken']}"
        return self

    async def subscribe(self, **changes: Any) -> "Rig":
        answer = await self.http.put("/webhooks/config", json=HOOK | changes)
        assert answer.status_code == 200, answer.text
        return self

    async def pass_time(self, seconds: float) -> None:
        """Time goes by event after event, as in the server."""
        until = self.clock.now() + timedelta(seconds=seconds)
        while (due := self.sim.next_event_at()) is not None and due <= until:
            self.clock.set(max(due, self.clock.now()))
            await self.sim.run_until(due)
        self.clock.set(until)
        await self.sim.run_until(until)
        if seconds >= 3000:
            await self.login()

    async def start(self, point_id: int = AC, **fields: Any) -> dict[str, Any]:
        """POST /charges that is expected to work."""
        answer = await self.post_charge(point_id, **fields)
        assert answer.status_code == 200, answer.text
        return decoded(answer)

    async def post_charge(self, point_id: int = AC, **fields: Any) -> httpx.Response:
        return await self.http.post("/charges", json=start_body(point_id, **fields))

    async def read(self, charge_id: int) -> dict[str, Any]:
        return decoded(await self.http.get(f"/charges/{charge_id}"))

    async def stop(self, charge_id: int) -> dict[str, Any]:
        answer = await self.http.get(f"/charges/{charge_id}/stop")
        assert answer.status_code == 200, answer.text
        return decoded(answer)

    async def search(self, **query: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = decoded(await self.http.get("/charges", params=query))["data"]
        return rows


def start_body(point_id: int = AC, **fields: Any) -> dict[str, Any]:
    """A complete body for POST /charges."""
    session = {"provider": "acme", "externalId": "K7QM-4TXP", "cardLast4": "4242"}
    return {
        "payingTeamId": 4711,
        "chargePointId": point_id,
        "partnerExternalId": "ps_1",
        "genericPaymentSession": session,
    } | fields


def decoded(answer: httpx.Response) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(answer.content, parse_float=Decimal)
    return value


async def a_rig(config: SimulatorConfig = CONFIG, **changes: Any) -> Rig:
    """A rig with a client that is logged in."""
    return await Rig(config, **changes).login()
