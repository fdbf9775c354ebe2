"""Runs replicas of `tapwatt serve --with-watcher` as real processes on real sockets, beside a simulated Monta."""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from app.clock import SystemClock
from app.demo.processes import base_environment, free_port, tail_of
from app.domain.tariff import parse_tariff
from app.domain.units.ids import ChargePointId
from app.flows.admin import provision
from app.flows.admin.manage_keys import add_ops_key
from app.flows.admin.provision import NewOperator
from app.settings import KeyedSettings, Secret
from app.simulator.http.asgi import BASE
from app.simulator.server import about, default_config
from app.wiring import open_context
from tests.postgres import ROOT, as_superuser
from tests.processes.monta_process import FIRST_POINT

SECRET_KEY = "for-tests-Vq7nX2kM9sD4wL1zR8cT5bG3"
LEASE_S = 5.0
"""Not below the bound on an idle transaction: a frozen replica may hold a row's lock that long."""
SEND_GUARD_S = 1.5
QUIET_WINDOW_S = 8.0
SETTINGS = {
    "LEASE_S": LEASE_S,
    "SEND_GUARD_S": SEND_GUARD_S,
    "QUIET_WINDOW_S": QUIET_WINDOW_S,
    "START_TIMEOUT_S": 5,
    "START_DEADLINE_S": 120,
    "SILENCE_S": 3,
    "STOP_RETRY_S": 1,
    "SETTLE_POLL_S": 0.5,
    "STOP_LATENCY_S": 1,
    "CALLS_PER_MINUTE": 1_000_000,
    "NEW_HOLDS_PER_MINUTE": 1_000_000,
    "FAILED_KEYS_PER_MINUTE": 1_000_000,
}
"""About a tenth of the usual durations, so that leases expire within a test; their order is the usual one."""
TARIFF = {
    "currency": "EUR",
    "tax_included": "YES",
    "elements": [{"price_components": [{"type": "ENERGY", "price": "0.79", "step_size": 1}]}],
}
READY_S = 60.0
POLL_S = 0.05

Json = dict[str, Any]


@dataclass(slots=True)
class Process:
    """One child process, restarted under the same name and port."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    port: int
    log: Path
    child: "subprocess.Popen[bytes] | None" = field(default=None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.child = subprocess.Popen(
                [sys.executable, "-m", *self.command],
                cwd=self.log.parent,  # a .env file of the checkout is not the tests'
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def send(self, number: signal.Signals) -> None:
        assert self.child is not None
        os.kill(self.child.pid, number)

    def kill(self) -> None:
        """Kills with kill -9 in any state; the port is free afterwards."""
        if self.child is not None:
            self.child.kill()
            self.child.wait()

    async def ended(self, within_s: float) -> int:
        """Wait for its own end; the exit status."""
        assert self.child is not None
        child = self.child
        await until(lambda: child.poll() is not None, within_s, f"the end of {self.name}")
        assert child.returncode is not None
        return child.returncode

    def watcher_names(self) -> list[str]:
        """The names of its watchers, newest last."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        told = [json.loads(line) for line in lines if '"watcher_started"' in line]
        return [str(line["watcher"]) for line in told]


async def until(done: Callable[[], bool], within_s: float, what: str) -> None:
    ends_at = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < ends_at, f"{what} did not come within {within_s} s"
        await asyncio.sleep(POLL_S)


class Fleet:
    """The replicas, the simulated Monta and a terminal's key; `admin` sees every row of the database."""

    def __init__(self, replicas: list[Process], monta: Process, http: httpx.AsyncClient) -> None:
        self.replicas = replicas
        self.monta = monta
        self.http = http
        self.terminal_key = ""
        self.ops_key = ""
        self.points: list[str] = []
        self.admin: asyncpg.Pool

    async def ready(self, replica: Process, within_s: float = READY_S) -> None:
        """Wait until it serves and a watcher works."""
        ends_at = time.monotonic() + within_s
        while True:
            assert replica.child is not None
            assert replica.child.poll() is None, f"{replica.name} ended:\n{tail_of(replica.log)}"
            try:
                if (await self.http.get(f"{replica.url}/health/ready")).status_code == 200:
                    return
            except httpx.HTTPError:
                pass  # not there yet: the test waits for it
            assert time.monotonic() < ends_at, f"{replica.name} is not ready:\n{tail_of(replica.log)}"
            await asyncio.sleep(4 * POLL_S)

    async def call(
        self, replica: Process, method: str, path: str, body: Json | None = None
    ) -> httpx.Response:
        key = {"Authorization": f"Bearer {self.terminal_key}"}
        return await self.http.request(method, replica.url + path, json=body, headers=key)

    async def rows(self, query: str, *args: object) -> list[asyncpg.Record]:
        """Queries the database directly, past all disturbances; repeats while it is away itself."""
        ends_at = time.monotonic() + READY_S
        while True:
            try:
                found: list[asyncpg.Record] = await self.admin.fetch(query, *args)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                assert time.monotonic() < ends_at, "the database is away"
                await asyncio.sleep(POLL_S)
            else:
                return found

    async def value(self, query: str, *args: object) -> int:
        (row,) = await self.rows(query, *args)
        return int(row[0])

    async def books(self) -> Json:
        """The simulator's own records: `posts` by reference, `charges`."""
        books: Json = (await self.http.get(f"{self.monta.url}/books")).json()
        return books

    def logs(self, *words: str) -> list[str]:
        """Lines of the replicas' logs that hold one of the words."""
        lines = [
            line
            for r in self.replicas
            for line in r.log.read_text(encoding="utf-8", errors="replace").splitlines()
        ]
        return [line for line in lines if any(word in line for word in words)]


async def _provision(fleet: Fleet, url: str) -> None:
    """Provisions as the command line does, without a process for each command."""
    settings = KeyedSettings(secret_key=Secret(SECRET_KEY), allow_plain_http=True)
    monta = about(default_config(), fleet.monta.url)
    new = NewOperator(
        name="Nordlade",
        monta_url=f"{fleet.monta.url}{BASE}",
        client_id=str(monta["client_id"]),
        client_secret=str(monta["client_secret"]),
        paying_team_id=str(monta["paying_team_id"]),
    )
    async with open_context(settings, url) as context:
        operator = await provision.add_operator(context, new)
        points = [ChargePointId(p) for p in fleet.points]
        terminal = await provision.add_terminal(
            context, operator.operator_id, provider="tapwatt", name="lane 3", charge_point_ids=points
        )
        await provision.set_tariff(context, operator.operator_id, None, parse_tariff(TARIFF))
        ops = await add_ops_key(context, None)
        assert isinstance(context.clock, SystemClock)
    fleet.terminal_key, fleet.ops_key = terminal.api_key, ops.api_key


@contextmanager
def _folder() -> Any:
    with tempfile.TemporaryDirectory(prefix="tapwatt-fleet-") as name:
        yield Path(name)


@asynccontextmanager
async def open_fleet(
    admin_url: str, urls: Sequence[str], *, points: int, seed: int, late_s: float = 1.0
) -> AsyncIterator[Fleet]:
    """Starts one replica for each database URL, all ready; `admin_url` connects to the same, migrated, empty
    database."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(_folder())
        http = await stack.enter_async_context(
            httpx.AsyncClient(timeout=20, trust_env=False, limits=httpx.Limits(max_connections=200))
        )
        monta_port, ports = free_port(), [free_port() for _ in urls]
        common = base_environment() | {f"TAPWATT_{name}": str(value) for name, value in SETTINGS.items()}
        common |= {
            "PYTHONPATH": str(ROOT),
            "TAPWATT_SECRET_KEY": SECRET_KEY,
            "TAPWATT_PUBLIC_URL": f"http://127.0.0.1:{ports[-1]}",
        }
        told = [
            "--port",
            str(monta_port),
            "--points",
            str(points),
            "--seed",
            str(seed),
            "--late",
            str(late_s),
        ]
        monta = Process(
            "monta", ["tests.processes.monta_process", *told], common, monta_port, folder / "monta.log"
        )
        replicas = [
            Process(
                f"replica-{n}",
                ["app", "serve", "--port", str(port), "--with-watcher"],
                common | {"TAPWATT_DATABASE_URL": url},
                port,
                folder / f"replica-{n}.log",
            )
            for n, (url, port) in enumerate(zip(urls, ports, strict=True), 1)
        ]
        fleet = Fleet(replicas, monta, http)
        fleet.points = [str(FIRST_POINT + n) for n in range(points)]
        await _provision(fleet, admin_url)
        fleet.admin = await asyncpg.create_pool(as_superuser(admin_url), min_size=0, max_size=8)
        stack.push_async_callback(fleet.admin.close)
        for process in (monta, *replicas):
            stack.callback(process.kill)
            process.start()
        for replica in replicas:
            await fleet.ready(replica)
        yield fleet


def announce(what: str, seed: int | None = None) -> int:
    """Prints the seed of a random run, so that it can be repeated: `TAPWATT_TEST_SEED` sets it."""
    seed = seed if seed is not None else int(os.environ.get("TAPWATT_TEST_SEED", secrets.randbelow(2**31)))
    print(f"\n{what}: seed {seed}")
    return seed
