"""PgBouncer before the tests' PostgreSQL, where it is installed (Debian's package `pgbouncer`)."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote

import pytest

from app.demo.processes import free_port
from app.embedded.cluster import SERVICE
from tests.processes.proxy import Proxy

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
needs_pgbouncer = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed here")


@asynccontextmanager
async def pooler(database_url: str, mode: str, *, user: str = SERVICE, **more: str) -> AsyncIterator[str]:
    """The URL of the same database through a PgBouncer of this pool mode.

    Between the two stands a proxy: the server's socket may belong to root, whom PgBouncer does not work for.
    """
    assert PGBOUNCER is not None
    name, folder = database_url.split("@/")[1].split("?host=")
    async with Proxy(lambda: asyncio.open_unix_connection(f"{unquote(folder)}/.s.PGSQL.5432")) as proxy:
        port = free_port()
        with tempfile.TemporaryDirectory(prefix="tapwatt-pooler-") as made:
            Path(made).chmod(0o777)
            config = _configuration(Path(made), mode, port, proxy.port, more | {"user": user})
            command = [PGBOUNCER, *(["-u", "nobody"] if os.geteuid() == 0 else []), str(config)]
            null = asyncio.subprocess.DEVNULL
            process = await asyncio.create_subprocess_exec(*command, stdout=null, stderr=null)
            try:
                await _listening(port)
                yield f"postgresql://{user}@127.0.0.1:{port}/{name}"
            finally:
                process.send_signal(signal.SIGINT)
                await process.wait()


def _configuration(home: Path, mode: str, port: int, server_port: int, more: dict[str, str]) -> Path:
    user = more.pop("user")
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "any",
        "pool_mode": mode,
        "default_pool_size": "6",
        "max_client_conn": "200",
    } | more
    lines = ["[databases]", f"* = host=127.0.0.1 port={server_port} user={user}", "[pgbouncer]"]
    config = home / "pgbouncer.ini"
    config.write_text("\n".join([*lines, *(f"{k} = {v}" for k, v in settings.items()), ""]), encoding="utf-8")
    return config


async def _listening(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
