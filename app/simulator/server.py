"""Runs the simulator as a server. Default configuration, lifespan, and facts for its user."""

import asyncio
from datetime import datetime

from app.clock import Clock
from app.domain.units.frozen import replace
from app.simulator.charge_points import MAGIC_POINTS, NORMAL_POINTS, PRICE_GROUPS
from app.simulator.config import SimulatorConfig
from app.simulator.http.asgi import BASE, Receive, Scope, Send
from app.simulator.simulator import Simulator
from app.simulator.webhooks.delivery import Deliver

_FASTEST_POST_S = 0.1
"""Shortest real time in seconds between webhook batches, however fast the clock runs."""
_IDS_PER_S = 10**7
"""How far a second later at the start moves the first charge id."""


def default_config(*, speed: float = 1.0, seed: int = 1, plain_http: bool = False) -> SimulatorConfig:
    """Ordinary charge points with a car at each, and the magic ones. Webhooks to http on loopback, or anywhere."""
    config = SimulatorConfig(
        points=NORMAL_POINTS + MAGIC_POINTS,
        price_groups=PRICE_GROUPS,
        seed=seed,
        allows_http_loopback=True,
        allows_plain_http=plain_http,
    )
    return replace(config, webhook_cadence_s=max(config.webhook_cadence_s, _FASTEST_POST_S * speed))


def with_new_charge_ids(config: SimulatorConfig, now: datetime) -> SimulatorConfig:
    """Charge ids that no run before has used, as a gateway keeps those for ever. `now`: of this run's start."""
    return replace(config, charge_ids_after=config.charge_ids_after + int(now.timestamp()) * _IDS_PER_S)


class SimulatorServer:
    """The simulator as an ASGI app for a server. Simulated time runs from startup to shutdown of the lifespan."""

    def __init__(self, config: SimulatorConfig, clock: Clock, deliver: Deliver) -> None:
        self.simulator = Simulator(config, clock, deliver)
        self.simulator.app.over_socket = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.simulator.app(scope, receive, send)
            return
        await self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        world = asyncio.create_task(self.simulator.run())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        world.cancel()
        await asyncio.gather(world, return_exceptions=True)
        await send({"type": "lifespan.shutdown.complete"})


def about(config: SimulatorConfig, origin: str) -> dict[str, str | int]:
    """Returns what a gateway needs to use the simulator at `origin` (`http://127.0.0.1:9000`)."""
    return {
        "monta_url": f"{origin}{BASE}",
        "client_id": config.client_id,
        "client_secret": config.client_secret,
        "paying_team_id": config.paying_team_ids[0],
    }
