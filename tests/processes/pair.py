"""A primary and its synchronous standby as real servers on loopback: one can be killed, the other promoted."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self

import asyncpg

from app.demo.processes import free_port
from app.embedded.cluster import log_tail, make_ready, read_pid_file, server_environment
from app.embedded.host import Host, find_host

START_S = 30.0
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "wal_level": "replica",
    "hot_standby": "on",
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "200ms",
    "autovacuum": "off",
    "fsync": "off",
}
"""fsync off: processes are killed here, not machines; data given to the system stays."""
SYNCHRONOUS = {"synchronous_commit": "on", "synchronous_standby_names": "*"}


class Server:
    """Runs one PostgreSQL under the embedded one's guard, over TCP, with its files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.host: Host = find_host(folder)
        self.port = free_port()
        self._guard: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def make_empty(self) -> None:
        make_ready(self.host, SETTINGS)
        with (self.host.cluster / "pg_hba.conf").open("a", encoding="ascii") as rules:
            rules.write("host replication all 127.0.0.1/32 trust\n")

    def make_standby_of(self, primary: "Server") -> None:
        """Makes a base backup, configured to follow the primary."""
        self.host.cluster.mkdir(mode=0o700)
        self.host.own(self.host.cluster)
        source = ["-d", f"host=127.0.0.1 port={primary.port} user=postgres application_name=standby"]
        command: list[str | Path] = [self.host.binaries / "pg_basebackup", "-D", self.host.cluster, *source]
        command += ["-R", "-X", "stream", "-c", "fast", "--no-sync"]
        done = subprocess.run(
            self.host.guarded(command), env=server_environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    async def start(self, settings: dict[str, str]) -> Self:
        """Returns when it takes connections."""
        given = SETTINGS | settings | {"port": str(self.port)}
        options = [part for name, value in given.items() for part in ("-c", f"{name}={value}")]
        command: list[str | Path] = [self.host.binaries / "postgres", "-D", self.host.cluster, *options]
        with self.host.log.open("ab") as log:
            self._guard = subprocess.Popen(  # noqa: ASYNC220  it only starts it
                self.host.guarded(command),
                env=server_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        ends_at = time.monotonic() + START_S
        while True:
            with suppress(OSError, asyncpg.PostgresError):
                await (await asyncpg.connect(self.url(), timeout=5)).close()
                return self
            assert time.monotonic() < ends_at, log_tail(self.host)
            await asyncio.sleep(0.05)

    async def execute(self, *statements: str) -> None:
        connection = await asyncpg.connect(self.url())
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    async def value(self, query: str) -> object:
        connection = await asyncpg.connect(self.url())
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    def kill(self) -> None:
        """Kills the server with all its processes (kill -9), as when the machine fails."""
        known = read_pid_file(self.host)
        for pid in [*_children(known.pid), known.pid] if known else []:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._guard is not None:
            self._guard.kill()
            self._guard.wait()
            self._guard = None

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the server's every process."""
        known = read_pid_file(self.host)
        assert known is not None
        for pid in [known.pid, *_children(known.pid)]:
            os.kill(pid, number)


def _children(parent: int) -> list[int]:
    found = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(pid) for pid in found.read_text(encoding="ascii").split()] if found.exists() else []


class Pair:
    """`url(database)` names both; whichever is the primary is in `primary`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0
        self.primary = self._new()
        self.standby = self._new()
        self._ports = (self.primary.port, self.standby.port)

    def url(self, database: str) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports)
        return f"postgresql://postgres@{hosts}/{database}?target_session_attrs=read-write"

    def _new(self) -> Server:
        self._made += 1
        return Server(self._folder / f"server-{self._made}")

    async def open(self) -> None:
        self.primary.make_empty()
        await self.primary.start({})
        await self._follow()

    async def _follow(self) -> None:
        """Lets the standby follow; from then on the primary acknowledges only what the standby has too."""
        self.standby.make_standby_of(self.primary)
        await self.standby.start({})
        orders = [f"ALTER SYSTEM SET {name} = '{value}'" for name, value in SYNCHRONOUS.items()]
        await self.primary.execute(*orders, "SELECT pg_reload_conf()")
        ends_at = time.monotonic() + START_S
        while (
            await self.primary.value("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")
            != 1
        ):
            assert time.monotonic() < ends_at, log_tail(self.standby.host)
            await asyncio.sleep(0.05)

    async def fail_over(self) -> None:
        """Kills the primary and promotes the standby, which then has none of its own."""
        self.primary.kill()
        await self.promote()

    async def promote(self) -> None:
        self.primary, self.standby = self.standby, self.primary
        assert await self.primary.value("SELECT pg_promote(true, 30)")
        await self.primary.execute("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")

    async def rebuild(self) -> None:
        """A new standby at the address of the server that was killed."""
        port = self.standby.port
        self.standby = self._new()
        self.standby.port = port
        await self._follow()

    def close(self) -> None:
        for server in (self.primary, self.standby):
            server.kill()


@asynccontextmanager
async def open_pair(folder: Path) -> AsyncIterator[Pair]:
    pair = Pair(folder)
    try:
        await pair.open()
        yield pair
    finally:
        pair.close()
