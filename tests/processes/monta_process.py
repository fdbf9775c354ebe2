"""Runs the simulator as a process with slow answers and a log: `python -m tests.processes.monta_process`.

Besides the Partner API it answers GET /books: every POST /charges by the reference it carried, and every charge.
"""

import argparse
import asyncio
import json
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import httpx
import uvicorn

from app.clock import SystemClock
from app.simulator.config import Driver, PointConfig, SimulatorConfig
from app.simulator.http.asgi import BASE, Message, Receive, Scope, Send
from app.simulator.server import SimulatorServer, default_config

FIRST_POINT = 1001
KWH_PRICE_GROUP = 25
"""0.79 EUR a kWh, nothing else."""


def brisk(points: int, seed: int) -> SimulatorConfig:
    """A configuration in which a whole charge takes seconds of real time: fast cables and webhooks, a car at each
    point."""
    driver = Driver(vehicle="Hyundai Ioniq 5", unplugs_after_stop_s=0.2, next_car_after_s=0.3)
    deployment = PointConfig(
        id=FIRST_POINT,
        name="brisk",
        max_w=300_000,
        price_group_id=KWH_PRICE_GROUP,
        direct_current=True,
        meter_interval_s=10,
        meter_step_wh=150,
        start_latency_s=0.2,
        stop_latency_s=0.2,
        ramp_s=0.5,
        driver=driver,
    )
    return replace(
        default_config(seed=seed),
        points=tuple(replace(deployment, id=FIRST_POINT + n) for n in range(points)),
        rate_limit=1_000_000,
        webhook_cadence_s=0.5,
        webhook_latency_s=0.1,
        webhook_retry_s=1.0,
        completion_s=(0.2, 0.4),
    )


class Slow:
    """Delays each call that changes something by up to `most_s` before and after its effect."""

    def __init__(self, server: SimulatorServer, seed: int, most_s: float) -> None:
        self._server = server
        self._rng = random.Random(seed)
        self._most_s = most_s
        self.posts: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if path == "/books":
            await self._show(send)
        elif path == f"{BASE}/charges" and scope["method"] == "POST":
            body = await _whole(receive)
            self.posts[json.loads(body)["partnerExternalId"]] += 1
            await self._late(scope, _again(body), send)
        elif path.endswith("/stop"):
            await self._late(scope, receive, send)
        else:
            await self._server(scope, receive, send)

    async def _late(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def late(message: Message) -> None:
            if message["type"] == "http.response.start":
                await asyncio.sleep(self._rng.uniform(0, self._most_s))
            await send(message)

        await asyncio.sleep(self._rng.uniform(0, self._most_s))
        await self._server(scope, receive, late)

    async def _show(self, send: Send) -> None:
        charges = [
            {
                "id": str(c.id),
                "reference": c.partner_external_id,
                "state": c.state.value,
                "price": str(c.price),
                "ended": c.completed_at is not None,
            }
            for c in self._server.simulator.charges()
        ]
        body = json.dumps({"posts": self.posts, "charges": charges}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


async def _whole(receive: Receive) -> bytes:
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _again(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def run(port: int, points: int, seed: int, most_s: float) -> None:
    async with httpx.AsyncClient(timeout=10, trust_env=False) as http:

        async def deliver(url: str, body: bytes, headers: Mapping[str, str]) -> int:
            return (await http.post(url, content=body, headers=dict(headers))).status_code

        app = Slow(SimulatorServer(brisk(points, seed), SystemClock(), deliver), seed, most_s)
        config = uvicorn.Config(
            app,
            port=port,
            log_level="warning",
            access_log=False,
        )
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    for name, kind in (("port", int), ("points", int), ("seed", int), ("late", float)):
        options.add_argument(f"--{name}", type=kind, required=True)
    given = options.parse_args()
    asyncio.run(run(given.port, given.points, given.seed, given.late))
