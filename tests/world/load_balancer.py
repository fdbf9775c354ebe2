"""Sends calls of terminals, forgers and Monta to some living replica, if there is one."""

from collections.abc import Mapping
from random import Random
from typing import Any

import httpx

from app.api.http.live import SessionChanges
from app.api.http.rate_limits import Quotas
from app.main import create_app
from tests.shared_objects import begin_anew
from tests.world.replica import Unanswered
from tests.world.replicas import Environment, Replicas

AT_ONCE_S = 5.0
"""Seconds after which a delivery times out."""


class LoadBalancer:
    """A load balancer that does not notice frozen replicas."""

    def __init__(self, environment: Environment, replicas: Replicas, rng: Random) -> None:
        self.webhooks_off = False
        self._environment = environment
        self._replicas = replicas
        self._rng = rng

    async def api(
        self,
        method: str,
        path: str,
        *,
        key: str,
        body: Any = None,
        headers: Mapping[str, str],
        patience_s: float,
    ) -> httpx.Response:
        """Sends a terminal's call. Raises Unanswered."""
        request = httpx.Request(
            method,
            f"http://tapwatt.test{path}",
            json=body,
            headers={"Authorization": f"Bearer {key}", **headers},
        )
        return await self._call(request, patience_s)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Sends any delivery and returns the status. Raises Unanswered."""
        request = httpx.Request("POST", url, content=body, headers=dict(headers))
        return (await self._call(request, AT_ONCE_S)).status_code

    async def deliver(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Sends Monta's own delivery. Raises Unanswered."""
        if self.webhooks_off:
            raise Unanswered("the way is closed")
        return await self.post(url, body, headers)

    async def _call(self, request: httpx.Request, patience_s: float) -> httpx.Response:
        living = self._replicas.living
        if not living:
            raise Unanswered("no replica listens")
        replica = self._rng.choice(living)
        slot = replica.name.partition(".")[0]
        app = self._environment.apps.get(slot)
        if app is None:
            app = self._environment.apps[slot] = create_app(replica.context)
        if app.state.context is not replica.context:
            begin_anew(app, replica.context, SessionChanges(), Quotas())
        return await replica.answer(app, request, patience_s=patience_s)
