"""Attacker who knows a webhook's address but not its secret: sends forgeries, and replays true deliveries."""

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from random import Random

from app.clock import Clock
from app.simulator.simulator import Simulator
from app.simulator.webhooks.delivery import Delivery
from tests.world.replica import Unanswered
from tests.world.story import Story

Post = Callable[[bytes, Mapping[str, str]], Awaitable[int]]
EVERY_S = (20.0, 90.0)
LIES = {"state": "completed", "consumedKwh": 999, "price": 0.01}


class Forger:
    """Attacks the deliveries of one operator's Monta until the quiet phase."""

    def __init__(self, simulator: Simulator, post: Post, *, clock: Clock, rng: Random, story: Story) -> None:
        self._simulator = simulator
        self._post = post
        self._clock = clock
        self._rng = rng
        self._story = story

    async def live(self, times: int) -> None:
        for _ in range(times):
            await self._clock.sleep(self._rng.uniform(*EVERY_S))
            if self._simulator.deliveries:
                await self._forge(self._rng.choice(list(self._simulator.deliveries)))

    async def _forge(self, delivery: Delivery) -> None:
        oracle = self._rng.random() < 0.3 and delivery.status == 200
        body = delivery.body if oracle else _lie(delivery.body)
        key = self._rng.randbytes(16)
        forged = {"X-Monta-Signature": f"sha1={hmac.new(key, body, hashlib.sha1).hexdigest()}"}
        headers = dict(delivery.headers) if oracle else {**delivery.headers, **forged}
        try:
            status = await self._post(body, headers)
        except Unanswered:
            return
        self._story.add("forger", f"{'repeats a delivery' if oracle else 'lies'} -> {status}")
        with self._story.rule("a forged delivery is refused"):
            assert oracle or status in (401, 503), f"status {status}"


def _lie(body: bytes) -> bytes:
    told = json.loads(body)
    for entry in told["entries"]:
        entry["payload"] |= LIES
    return json.dumps(told).encode()
