"""The service under test: `tapwatt serve` and `tapwatt watch` as processes, provisioned as the commands do it."""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import httpx

from app.demo.processes import base_environment, free_port
from app.domain.limit.meter import BLOCK_WH, RAMP_S
from app.domain.session.states.kept_readings import ABSORBED_FROM
from app.domain.tariff import parse_tariff
from app.domain.units.ids import ChargePointId, OperatorId
from app.flows.admin import provision
from app.flows.admin.manage_keys import add_ops_key
from app.flows.admin.provision import NewOperator
from app.settings import KeyedSettings, Secret
from app.store.db.schema import migrate
from app.wiring import open_context
from bench.load.generator import Generator
from bench.rig.copies import Original, original_of
from bench.rig.database import BenchDatabase
from bench.rig.processes import Process

Json = dict[str, Any]
NAME = "tapwatt"
LIMITS = dict.fromkeys(
    (
        "TAPWATT_CALLS_PER_MINUTE",
        "TAPWATT_OPERATOR_CALLS_PER_MINUTE",
        "TAPWATT_NEW_HOLDS_PER_MINUTE",
        "TAPWATT_FAILED_KEYS_PER_MINUTE",
    ),
    "100000000",
)
"""Cases measure what is possible, not what is allowed."""
SECRET_KEY = token_urlsafe(48)
FAST, DONE, FRESH = "1000000", "3000000", "4000000"
"""Charge points: 300 kW for readings, one for ended sessions, one for authorizations."""
WAITING = 6_000_000
"""The first charge point of terminals whose sessions are waited for."""
SLOW = tuple(str(2_000_000 + 10_000 * number) for number in range(20))
"""Charge points of 11 kW for crossings of the limit, one after the other."""
TARIFF = {
    "currency": "EUR",
    "tax_included": "YES",
    "elements": [{"price_components": [{"type": "ENERGY", "price": "1.00", "step_size": 1}]}],
}
WATTS = 150_000
"""The power of the sessions that get readings, half of what their charge points can give."""
PATIENCE_S = 120.0
SOON_S, READING_S = 0.5, 4.0
"""Between two readings of the original: where only its plan is waited for, and where its power is. A session remembers
its last few readings, and measures power over a longer time than they span if they come quickly."""
POWER_KNOWN_S = RAMP_S + 3600 * BLOCK_WH / WATTS + 2 * READING_S
"""After so long with readings a session knows its power, as most do in service. Until then each rise by more than a
kWh must be decided."""
KEPT, KEPT_S = ABSORBED_FROM - 2, 1.0
"""Readings that the fast charge point's session has kept beside it, and the seconds in which they come."""
_IS_PLANNED = (
    "SELECT count(*) FROM payment_sessions s JOIN kept_readings k ON k.session_id = s.id"
    " WHERE s.id = $1 AND k.allowed IS NOT NULL AND s.due_at > now() + interval '5 min'"
)
_TO_TERMINAL = "UPDATE payment_sessions SET terminal_id = $1 WHERE id = ANY($2)"


class NotAnswered(Exception):
    """The service answered with an error; while it is overloaded it may answer the same call later."""


@dataclass
class Running:
    """An original session of which readings are sent, and when its charge began (epoch)."""

    original: Original
    began_s: float


@dataclass
class Tapwatt:
    """`service` and `watcher` are started and ended by the cases; keys are those of its operator and terminal."""

    folder: Path
    database: BenchDatabase
    monta_port: int
    http: httpx.AsyncClient
    generator: Generator
    port: int = field(default_factory=free_port)
    operator: OperatorId = field(init=False)
    terminal_key: str = ""
    ops_key: str = ""
    webhook_path: str = ""
    webhook_secret: str = ""
    _made: int = 0

    def __post_init__(self) -> None:
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = base_environment() | {
            "TAPWATT_DATABASE_URL": self.database.service_url(NAME),
            "TAPWATT_SECRET_KEY": SECRET_KEY,
            "TAPWATT_PUBLIC_URL": self.url,
            **LIMITS,
            "TAPWATT_CONNECTIONS": "10000",
            "TAPWATT_CONNECTIONS_PER_ADDRESS": "10000",
            "TAPWATT_SILENCE_S": "3600",  # sessions that get no readings while others are measured stay calm
        }
        serve = ["app", "serve", "--port", str(self.port)]
        self.service = Process("service", serve, self.environment, self.folder)
        self.watcher = Process("watcher", ["app", "watch"], self.environment, self.folder)

    async def provision(self) -> None:
        """Does what the commands for migrating and provisioning do."""
        url = self.database.service_url(NAME)
        await asyncio.to_thread(migrate, self.database.owner_url(NAME), service_url=url)
        new = NewOperator(
            name="Bench",
            monta_url=f"http://127.0.0.1:{self.monta_port}/api/v1",
            client_id="bench",
            client_secret="bench",
            paying_team_id="14",
        )
        points = [ChargePointId(point) for point in (FAST, *SLOW, DONE, FRESH)]
        async with open_context(KeyedSettings(secret_key=Secret(SECRET_KEY)), url) as context:
            operator = await provision.add_operator(context, new)
            owner = self.operator = operator.operator_id
            terminal = await provision.add_terminal(
                context, owner, provider="bench", name="Bench", charge_point_ids=points
            )
            await provision.set_tariff(context, owner, None, parse_tariff(TARIFF))
            ops = await add_ops_key(context, None)
        self.terminal_key, self.ops_key = terminal.api_key, ops.api_key
        self.webhook_path, self.webhook_secret = operator.webhook_path, operator.webhook_secret

    async def spread_over_terminals(self, original: Original, count: int, share: int) -> list[str]:
        """Gives the copies of a session to new terminals, `share` to each; returns the terminals' keys."""
        keys: list[str] = []
        connection = await self.database.connect(NAME)
        await connection.execute(
            "SET session_replication_role = replica"
        )  # without triggers: a session keeps its own
        async with open_context(
            KeyedSettings(secret_key=Secret(SECRET_KEY)), self.database.service_url(NAME)
        ) as context:
            for first in range(0, count, share):
                point = ChargePointId(str(WAITING + first))
                added = await provision.add_terminal(
                    context, self.operator, provider="bench", name=f"Bench {first}", charge_point_ids=[point]
                )
                keys.append(added.api_key)
                sessions = [original.session(number) for number in range(first, min(first + share, count))]
                await connection.execute(_TO_TERMINAL, added.id, sessions)
        await connection.close()
        return keys

    def start_service(self) -> float:
        """Starts the service; returns the seconds to its first answer."""
        began = time.monotonic()
        self.service.start()
        with httpx.Client(trust_env=False) as http:

            def answers() -> bool:
                try:
                    return http.get(f"{self.url}/health/live").status_code == 200
                except httpx.TransportError:
                    return False

            self.service.wait_until(answers)
        return time.monotonic() - began

    def start_watcher(self) -> None:
        if self.watcher.child is None:
            started = self.watcher.says(b"watcher_started")
            self.watcher.start()
            self.watcher.wait_until(started)

    async def call(self, method: str, path: str, body: Json | None = None, *, ops: bool = False) -> Json:
        key = self.ops_key if ops else self.terminal_key
        headers = {"Authorization": f"Bearer {key}"}
        answer = await self.http.request(method, self.url + path, json=body, headers=headers)
        if not answer.is_success:
            raise NotAnswered(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return dict(answer.json())

    async def authorized(self, point: str, amount: int) -> Json:
        """Authorizes a payment at a charge point; its start follows."""
        self._made += 1
        held = {"reference": f"BENCH-{self._made:04d}-999999999", "amount": amount, "currency": "EUR"}
        card = {"brand": "visa", "last4": "4242", "fingerprint": f"fp-{self._made}"}
        body = {"charge_point_id": point, "authorization": held | {"card": card}}
        return await self.call("POST", "/v1/payment-sessions", body)

    async def shown(self, session_id: str, ready: str) -> Json:
        """Waits until the session has what `ready` names: `charge`, `energy_wh` or `settlement`."""
        ends_at = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends_at:
            session = await self.call("GET", f"/v1/payment-sessions/{session_id}")
            if session[ready]:
                return session
            await asyncio.sleep(0.05)
        raise RuntimeError(f"{session_id} has no {ready} after {PATIENCE_S:.0f} s")

    async def running(self, point: str, amount: int, *, power_known: bool = False) -> Running:
        """Makes an original whose charge runs; at the fast charge point in the middle of its course, with readings.
        `power_known`: it has run for as long as it takes to know its power."""
        session = await self.shown((await self.authorized(point, amount))["id"], "charge")
        began_s = time.time()
        if point == FAST:
            session = await self._planned(session, began_s, POWER_KNOWN_S if power_known else 0.0)
        await asyncio.sleep(0.3)  # the watcher gives the session back
        return Running(await self.original(session), began_s)

    async def _planned(self, session: Json, began_s: float, least_s: float) -> Json:
        """Sends readings, for `least_s` since the charge began at least, until its course is planned and nothing is due
        for longer than a case takes; then as many as a session may keep beside it before they are applied."""
        given = self.webhooks(1, began_s, int(session["charge"]["id"]), session["id"])
        connection = await self.database.connect(NAME)
        try:
            async with asyncio.timeout(PATIENCE_S):
                while time.time() < began_s + least_s or not await connection.fetchval(
                    _IS_PLANNED, session["id"]
                ):
                    await asyncio.sleep(READING_S if least_s else SOON_S)
                    await self.generator.run(
                        port=self.port, connections=1, seconds=0.001, kind="webhook", plan=given
                    )
        finally:
            await connection.close()
        await asyncio.sleep(KEPT_S)
        moments = [time.time() - KEPT_S * number / KEPT for number in reversed(range(KEPT))]
        given["moments"] = moments
        await self.generator.run(port=self.port, connections=1, seconds=KEPT_S, kind="webhook", plan=given)
        return await self.shown(session["id"], "energy_wh")

    async def original(self, session: Json) -> Original:
        connection = await self.database.connect(NAME)
        try:
            return await original_of(connection, session)
        finally:
            await connection.close()

    def webhooks(self, batch: int, began_s: float, charge: int, session: str, count: int = 1) -> Json:
        """The plan of deliveries for charges from `charge` on."""
        return {
            "path": self.webhook_path,
            "secret": self.webhook_secret,
            "batch": batch,
            "first": charge,
            "count": count,
            "session": session,
            "began_s": began_s,
            "watts": WATTS,
        }

    async def monta_log(self) -> list[tuple[float, str, str]]:
        """The calls at Monta since the last look: (monotonic time, kind, charge or session)."""
        answer = await self.http.get(f"http://127.0.0.1:{self.monta_port}/log")
        return [(at, kind, about) for at, kind, about in answer.json()["calls"]]
