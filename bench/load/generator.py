"""Starts the load generator and gives it jobs; several may be under way at once."""

import asyncio
import itertools
import json
from typing import Any

from bench.rig.processes import Process

Job = dict[str, Any]
SPARE_S = 120.0
"""How much longer than planned a job may take."""


class LoadFailed(Exception):
    """The load generator failed, or a service answered with errors."""


class Generator:
    """The process `python -m bench.load`; `run` waits for one job's result."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Job]] = {}
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.process.start(pipes=True)
        child = self.process.child
        assert child is not None
        assert child.stdout is not None
        reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), child.stdout)
        self._reader = asyncio.create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            result = json.loads(line)
            self._waiting.pop(result["id"]).set_result(result)

    async def run(self, *, seconds: float = 0.0, **job: Any) -> Job:
        """Raises LoadFailed when the job failed, or when a request got another answer than 2xx."""
        child = self.process.child
        assert child is not None
        assert child.stdin is not None
        number = next(self._ids)
        done = self._waiting[number] = asyncio.get_running_loop().create_future()
        child.stdin.write(json.dumps({"id": number, "seconds": seconds, **job}).encode() + b"\n")
        child.stdin.flush()
        async with asyncio.timeout(seconds + SPARE_S):
            result: Job = await done
        if "error" in result:
            raise LoadFailed(result["error"])
        wrong = {status: n for status, n in result.get("statuses", {}).items() if not status.startswith("2")}
        if wrong and not job.get("tolerant"):
            raise LoadFailed(f"{job.get('kind')}: answers {wrong}: {result['example']}")
        return result

    async def stop(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
        self.process.stop()
