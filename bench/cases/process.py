"""What one process costs: memory, and the time from its start to its first answer."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Mapping

from bench.cases import webhook
from bench.report.rows import CEILING, TAPWATT, USUAL, Goal, Want
from bench.rig.processes import compiling, memory_mb
from bench.rig.rig import Rig

CASE = "process"
LEAN = "import sys; from app.lean_imports import without\nwith without('pydantic.v1'): import "
"""As the service imports: without what it keeps out."""
OURS = "app.cli, app.processes, app.api.http.server, app.main\nprint(*(n for n in sys.modules if n.split('.')[0] in TOPS))"
TOPS = (
    "TOPS = {'alembic', 'anyio', 'asyncpg', 'cryptography', 'fastapi', 'httpcore', 'httptools', 'httpx', 'msgspec',\
 'prometheus_client', 'pydantic', 'pydantic_core', 'rich', 'sqlalchemy', 'starlette', 'structlog',\
 'typer', 'uvicorn', 'uvloop'}"
)
"""The packages that the service depends on; which of their modules it loads is found out."""


async def run(rig: Rig) -> None:
    environment = compiling(os.environ)
    modules = await asyncio.to_thread(_imported, f"{TOPS}\n{LEAN}{OURS}", environment)
    bare = LEAN + ", ".join(modules.split())
    ready = rig.rows.row(CASE, "start to first answer", "s", Goal(Want.NEAR, 1.25))
    fresh = rig.rows.row(CASE, "memory after the start", "MB", Goal(Want.MOST, 80))
    for _ in range(rig.scale.rounds):
        ready.add(CEILING, await asyncio.to_thread(_import_s, bare, environment))
        rig.usual.service.stop()
        ready.add(USUAL, rig.usual.start())
        fresh.add(USUAL, memory_mb(rig.usual.service.pid))
        rig.tapwatt.service.stop()
        ready.add(TAPWATT, rig.tapwatt.start_service())
        fresh.add(TAPWATT, memory_mb(rig.tapwatt.service.pid))
    await _loaded(rig)


async def _loaded(rig: Rig) -> None:
    """Memory after deliveries on many connections."""
    running = await webhook.prepared(rig)
    batch, connections = rig.scale.batches[0]
    await webhook.usual_load(rig, batch, connections)
    await webhook.tapwatt_load(rig, running, batch, connections)
    row = rig.rows.row(CASE, "memory after deliveries", "MB", Goal(Want.MOST, 80))
    row.add(USUAL, memory_mb(rig.usual.service.pid))
    row.add(TAPWATT, memory_mb(rig.tapwatt.service.pid))
    rig.rows.row(CASE, "memory of the watcher", "MB", Goal(Want.MOST, 80)).add(
        TAPWATT, memory_mb(rig.tapwatt.watcher.pid)
    )


def _imported(code: str, environment: Mapping[str, str]) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def _import_s(code: str, environment: Mapping[str, str]) -> float:
    """Seconds of an interpreter that only imports."""
    began = time.monotonic()
    _imported(code, environment)
    return time.monotonic() - began
