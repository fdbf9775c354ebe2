"""The durable PostgreSQL of the bench, with one database for each system."""

from pathlib import Path
from typing import Any

import asyncpg

from app.embedded import EmbeddedPostgres
from app.embedded.cluster import OWNER, SERVICE, read_pid_file
from app.embedded.host import find_host
from bench.rig.processes import cpu_s

SETTINGS = {"max_connections": "200", "max_wal_size": "4GB", "shared_buffers": "1GB"}
"""Room for three systems, and for the pages that 100,000 sessions change in turn; everything else is PostgreSQL's
default."""
DURABLE = ("fsync", "synchronous_commit", "full_page_writes")


class NotDurable(Exception):
    """PostgreSQL runs without the guarantees that the figures are about."""


class BenchDatabase:
    """The embedded server in `folder`; `url(name)` names a database of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.server = EmbeddedPostgres(folder, SETTINGS)
        self.version = ""

    async def open(self, *names: str) -> None:
        """Raises NotDurable."""
        self.server.start()
        connection = await asyncpg.connect(self.server.url)
        for name in names:
            await connection.execute(f'CREATE DATABASE "{name}" OWNER {OWNER}')
        self.version = await connection.fetchval("SHOW server_version")
        off = [name for name in DURABLE if await connection.fetchval(f"SHOW {name}") != "on"]
        await connection.close()
        if off:
            raise NotDurable(", ".join(off))

    def url(self, name: str) -> str:
        """The superuser's URL."""
        return self.server.url.replace("/postgres?", f"/{name}?")

    def service_url(self, name: str) -> str:
        return self.url(name).replace("//postgres@", f"//{SERVICE}@")

    def owner_url(self, name: str) -> str:
        return self.url(name).replace("//postgres@", f"//{OWNER}@")

    async def connect(self, name: str) -> Any:
        return await asyncpg.connect(self.url(name))

    async def settle(self, name: str) -> None:
        """Writes everything out, so that what was prepared costs nothing while a case is measured."""
        connection = await self.connect(name)
        await connection.execute("ANALYZE")
        await connection.execute("CHECKPOINT")
        await connection.close()

    def cpu_s(self) -> float:
        """CPU seconds of the server with all its processes."""
        known = read_pid_file(find_host(self._folder))
        return cpu_s(known.pid, with_children=True) if known else 0.0

    def close(self) -> None:
        self.server.stop()
        self.server.delete()
