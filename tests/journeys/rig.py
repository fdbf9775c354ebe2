"""The whole of Tapwatt under virtual time: service, watchers, a real database, the simulator."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI

from app.domain.limit.policy import Policy
from app.domain.tariff import parse_tariff
from app.domain.units.ids import ChargePointId
from app.flows.admin import provision
from app.flows.admin.manage_keys import add_ops_key
from app.flows.admin.provision import AddedOperator, NewOperator
from app.flows.context import Context
from app.flows.make_key import AddedKey
from app.flows.session.claim import is_anything_due
from app.monta.transport import Timeouts, open_http
from app.simulator.charge_points import NORMAL_POINTS
from app.simulator.config import SimulatorConfig
from app.simulator.server import default_config
from app.simulator.simulator import Simulator
from app.watcher import Watcher
from tests.build_context import build_context
from tests.journeys.pace import NEXT_DUE, RigClock
from tests.shared_objects import lent_app, lent_database
from tests.simulator_transport import SimulatorTransport

MONTA_URL = "http://monta.test/api/v1"
PUBLIC_URL = "https://tapwatt.test"

Json = dict[str, Any]


def energy_tariff(price: str = "0.49", **more: Any) -> Json:
    """The simplest OCPI tariff: one kWh price, taxes included in what the driver sees."""
    return {
        "currency": "EUR",
        "tax_included": "YES",
        "elements": [{"price_components": [{"type": "ENERGY", "price": price, "step_size": 1}]}],
    } | more


USUAL_POINTS = frozenset(p.id for p in NORMAL_POINTS) | {901, 906, 907, 918}


def usual(*also: int, **changes: Any) -> SimulatorConfig:
    """The simulator with the charge points of most journeys, and these magic ones: each comparison with Monta reads
    them all. Their readings are told by charges alone. That is a fifth less of all journeys' time."""
    points = tuple(point for point in default_config().points if point.id in USUAL_POINTS | set(also))
    return replace(default_config(), points=points, tells_points_meters=False, **changes)


MOST_ROUNDS = 1_000
"""Of claims at one moment. More are an endless loop, in which no time passes."""


async def run_due(watcher: Watcher) -> None:
    """Runs everything that is due now to its end. A claim that would find nothing is left out: it takes five
    statements where the look takes one."""
    for _ in range(MOST_ROUNDS):
        if not await watcher.run_round() or not await is_anything_due(watcher.context):
            return
    raise AssertionError("work is due again at once, without end")


class Rig:
    """One operator, one terminal, all charge points of the simulator; every step is taken by `pass_time`."""

    def __init__(
        self,
        context: Context,
        clock: RigClock,
        simulator: Simulator,
        line: SimulatorTransport,
        app: FastAPI,
        http: httpx.AsyncClient,
    ) -> None:
        self.context = context
        self.app = app
        self.clock = clock
        self.monta = simulator
        self.line = line
        self.http = http
        self.watchers = [Watcher(context, name="watcher-1")]
        self.operator: AddedOperator
        self.terminal: AddedKey
        self.ops: AddedKey
        self.database_url: str
        self.seen: dict[str, list[Json]] = {}
        """Every state of each session shown to a terminal, in order."""
        self._references = 0
        self._under_way: set[asyncio.Task[object]] = set()
        self._next_due: datetime | None = None
        self._written: int | None = None
        """Changes with every write of a session, or of readings that are kept beside it."""

    async def provision(self, config: SimulatorConfig) -> None:
        new = NewOperator(
            name="Nordlade",
            monta_url=MONTA_URL,
            client_id=config.client_id,
            client_secret=config.client_secret,
            paying_team_id=str(config.paying_team_ids[0]),
        )
        self.operator = await provision.add_operator(self.context, new)
        points = [ChargePointId(str(p.id)) for p in config.points]
        self.terminal = await provision.add_terminal(
            self.context,
            self.operator.operator_id,
            provider="tapwatt",
            name="lane 3",
            charge_point_ids=points,
        )
        self.ops = await add_ops_key(self.context, None)

    async def set_tariff(self, source: Json) -> None:
        await provision.set_tariff(self.context, self.operator.operator_id, None, parse_tariff(source))

    # Time

    async def pass_time(self, seconds: float) -> None:
        """Lets everything happen that falls due meanwhile, each at its own time, in order."""
        end = self.clock.now() + timedelta(seconds=seconds)
        await self.work()
        while self.clock.now() < end:
            await self._step(end)

    async def work(self) -> None:
        """Does what is due now; tasks that wait for time stay under way."""
        await self.monta.run_until(self.clock.now())
        self._under_way |= {asyncio.create_task(run_due(watcher)) for watcher in self.watchers}
        await self._rest()
        async with self.context.database.transaction() as connection:
            self._next_due, self._written = (await connection.execute(NEXT_DUE)).one()

    def beside(self, work: Coroutine[None, None, object]) -> asyncio.Task[object]:
        """Runs it while time passes: the rig counts it among the tasks that it waits for."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        return task

    async def until(self, session_id: str, *statuses: str, within_s: float = 7200) -> Json:
        """Passes time until the session has one of these statuses, and reads it whenever that may have changed; fails
        after `within_s`."""
        end = self.clock.now() + timedelta(seconds=within_s)
        await self.work()
        while (session := await self.session(session_id))["status"] not in statuses:
            while not await self._step(end):
                pass
            assert self.clock.now() < end, f"after {within_s} s still {session}"
        return session

    async def _step(self, end: datetime) -> bool:
        """Advances to the next event, `end` at the latest; returns whether a session was written there, or it is the
        end."""
        written = self._written
        now, wake = self.clock.now(), self.clock.next_wake_at()
        moments = [m for m in (self.monta.next_event_at(), self._next_due, wake) if m is not None and m > now]
        at = min([end, *moments])
        delivered = self.monta.counters["webhook_deliveries"]
        await self.clock.advance_to(at)
        await self.monta.run_until(at)
        news = self.monta.counters["webhook_deliveries"] > delivered
        if news or at in (self._next_due, wake, end):
            await self.work()
        return at == end or self._written != written

    async def _rest(self) -> None:
        """Waits until all tasks have ended, or wait for time to pass."""
        while len(self._under_way) > self.clock.sleepers:
            self.clock.slept.clear()
            asleep = asyncio.ensure_future(self.clock.slept.wait())
            await asyncio.wait({*self._under_way, asleep}, return_when=asyncio.FIRST_COMPLETED)
            asleep.cancel()
            for task in [task for task in self._under_way if task.done()]:
                self._under_way.remove(task)
                task.result()

    # Terminals and operations

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        bearer = {"Authorization": f"Bearer {key or self.terminal.api_key}"}
        return await self.http.request(method, path, json=body, headers=bearer | dict(headers or {}))

    async def authorize(self, charge_point: int, amount: int = 2000, **more: Any) -> Json:
        """Taps a card; returns the session as recorded."""
        answer = await self.call(
            "POST", "/v1/payment-sessions", body=self.payment(charge_point, amount, **more)
        )
        assert answer.status_code == 201, answer.text
        session: Json = answer.json()
        return session

    def payment(self, charge_point: int, amount: int = 2000, **more: Any) -> Json:
        self._references += 1
        held = {"reference": f"A-{self._references}", "amount": amount, "currency": "EUR"}
        held |= more.pop("authorization", {})
        return {"charge_point_id": str(charge_point), "authorization": held} | more

    async def session(self, session_id: str) -> Json:
        answer = await self.call("GET", f"/v1/payment-sessions/{session_id}")
        assert answer.status_code == 200, answer.text
        session: Json = answer.json()
        self.seen.setdefault(session_id, []).append(session)
        return session

    async def ops_session(self, session_id: str) -> Json:
        session: Json = (
            await self.call("GET", f"/v1/ops/payment-sessions/{session_id}", key=self.ops.api_key)
        ).json()
        return session

    async def journal(self, session_id: str) -> list[Json]:
        answer = await self.call(
            "GET", f"/v1/ops/payment-sessions/{session_id}/journal", key=self.ops.api_key
        )
        lines: list[Json] = answer.json()["data"]
        return lines

    async def stop(self, session_id: str) -> Json:
        answer = await self.call("POST", f"/v1/payment-sessions/{session_id}/stop")
        assert answer.status_code == 202, answer.text
        session: Json = answer.json()
        return session

    def calls(self, method: str, path: str) -> int:
        """Number of exactly this request to Monta."""
        return sum(1 for line in self.monta.requests if (line.method, line.path) == (method, path))

    def stops(self) -> int:
        """Number of requests to stop a charge."""
        return sum(1 for line in self.monta.requests if line.path.endswith("/stop"))


@asynccontextmanager
async def open_rig(
    database_url: str,
    *,
    config: SimulatorConfig | None = None,
    policy: Policy | None = None,
    public_url: str | None = PUBLIC_URL,
    timeouts: Timeouts | None = None,
    older_secret_keys: Sequence[str] = (),
) -> AsyncIterator[Rig]:
    """The rig, provisioned and with its sync done; webhooks are registered unless `public_url` is None."""
    config = config or usual()
    clock = RigClock()
    clients: list[httpx.AsyncClient] = []

    async def deliver(url: str, body: bytes, headers: Mapping[str, str]) -> int:
        answer = await clients[0].post(url.removeprefix(PUBLIC_URL), content=body, headers=dict(headers))
        return answer.status_code

    simulator = Simulator(config, clock, deliver)
    line = SimulatorTransport(simulator)
    async with lent_database(database_url) as database, open_http(line) as monta_http:
        context = build_context(
            database,
            clock,
            monta_http,
            policy=policy,
            timeouts=timeouts,
            public_url=public_url,
            older_secret_keys=older_secret_keys,
        )
        with lent_app(context) as app:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://tapwatt.test") as http:
                clients.append(http)
                rig = Rig(context, clock, simulator, line, app, http)
                rig.database_url = database_url
                await rig.provision(config)
                await rig.work()
                yield rig
