"""Transport from a replica to Monta: each request waits for its turn, may fail before or after its effect, and is
recorded."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import httpx

from app.clock import Clock
from app.simulator.simulator import Simulator
from tests.simulator_transport import SimulatorTransport
from tests.world.fault_injector import AFTER, BEFORE, Place, ReplicaFault
from tests.world.replica import Replica

CERTAINLY_NOT_DONE = frozenset({400, 401, 403, 404, 409, 422, 429})


@dataclass(slots=True)
class Sent:
    """One request that a replica tried to make; `status` is None when there was no answer."""

    at: datetime
    replica: str
    host: str
    method: str
    path: str
    reference: str | None = None
    """partnerExternalId of a start."""
    searched: str | None = None
    """partnerExternalId that a search asks for."""
    reached: bool = False
    status: int | None = None

    @property
    def may_have_effect(self) -> bool:
        return self.reached and self.status not in CERTAINLY_NOT_DONE


@dataclass(slots=True)
class Line:
    """Every request of every replica, oldest first."""

    sent: list[Sent] = field(default_factory=list)
    delay_s: float = 0.0
    """From a replica's call to the moment that its request leaves."""
    watchdog: Callable[[Sent], None] = lambda _: None

    def starts_of(self, reference: str) -> list[Sent]:
        return [s for s in self.sent if s.reference == reference]


class MontaTransport(httpx.AsyncBaseTransport):
    """Stands for the connection: the send guard is checked here again, as httpcore's trace hook does."""

    def __init__(
        self, replica: Replica, simulators: Mapping[str, Simulator], line: "Line", clock: Clock
    ) -> None:
        self._replica = replica
        self._clock = clock
        self._doors = {host: SimulatorTransport(simulator) for host, simulator in simulators.items()}
        self._line = line

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        replica, host = self._replica, request.url.host
        what = f"{request.method} {host}{request.url.path.removeprefix('/api/v1')}"
        await replica.my_turn()
        fault = replica.fault(Place.SEND, what)
        if fault in BEFORE:
            await replica.suffer(fault)
        if self._line.delay_s:
            await self._clock.sleep(self._line.delay_s)
        if fault is ReplicaFault.LOST_BEFORE:
            raise httpx.ReadError("the connection was reset", request=request)
        trace = request.extensions.get("trace")
        if trace is not None:
            await trace("http11.send_request_headers.started", {})
        sent = self._note(request, host)
        try:
            response = await self._doors[host].handle_async_request(request)
        except httpx.HTTPError as error:
            sent.reached = not isinstance(error, httpx.ConnectError)
            replica.story.add(replica.name, f"{what} -> {type(error).__name__}")
            raise
        sent.reached, sent.status = True, response.status_code
        replica.story.add(replica.name, f"{what} -> {response.status_code}")
        await replica.my_turn()
        if fault in AFTER:
            await replica.suffer(fault)
        if fault is ReplicaFault.LOST_AFTER:
            raise httpx.ReadError("the connection was reset", request=request)
        return response

    def _note(self, request: httpx.Request, host: str) -> Sent:
        path = request.url.path.removeprefix("/api/v1")
        sent = Sent(self._clock.now(), self._replica.name, host, request.method, path)
        if (request.method, path) == ("POST", "/charges"):
            sent.reference = json.loads(request.content).get("partnerExternalId")
        sent.searched = request.url.params.get("partnerExternalId")
        self._line.watchdog(sent)
        self._line.sent.append(sent)
        return sent
