"""The load generator: `python -m bench.load` reads jobs as lines of JSON and prints one line for each.

A job's connections send their next request when the last one is answered, so the load is bounded. Several jobs may
run at once. A job: `{"id", "port", "connections", "seconds", "kind", "plan"}`, with `gap_s` or `pace_s` (a pause before each
request, fixed or on average) and `repeat` (what is refused is sent again, as Monta does), or for the ceiling `{"id", "ceiling",
"url", ...}`; `{"id", "burn", "seconds"}` uses that share of one core and sends nothing.
"""

import asyncio
import gc
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from typing import Any

import uvloop

from bench.load import ceiling
from bench.load.connection import Connection
from bench.load.plans import Job, Plan, Request, plan_of

ANSWER_S = 60.0
"""The longest wait for one answer."""
BURN_S = 0.002
"""As long as one step of the service's event loop at most."""
REFUSED_S = 0.1
"""The pause after an error, so that refusals alone do not fill the service's time."""


class Run:
    """One job: its connections, counts and times."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.plan: Plan = plan_of(job["kind"], job["plan"])
        self.times_ms: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.units = 0
        self.ends_at = time.monotonic() + job["seconds"]
        self._example = ""

    async def run(self) -> Job:
        requests = self.plan.requests()
        connections = [await Connection.open(self.job["port"]) for _ in range(self.job["connections"])]
        began = time.monotonic()
        await asyncio.gather(*(self._send_all(each, requests) for each in connections))
        ended = time.monotonic()
        for each in connections:
            each.close()
        times = sorted(self.times_ms)
        return {
            "seconds": ended - began,
            "requests": len(times),
            "units": self.units,
            "statuses": self.statuses,
            "example": self._example,
            "p50_ms": _quantile(times, 0.5),
            "p99_ms": _quantile(times, 0.99),
            "max_ms": times[-1] if times else 0.0,
        } | self.plan.result()

    async def _send_all(self, connection: Connection, requests: Iterator[Request]) -> None:
        await self._pause()
        while time.monotonic() < self.ends_at and (request := next(requests, None)) is not None:
            self.plan.sent(request, time.monotonic())
            try:
                while not await self._is_taken(connection, request) and self.job.get("repeat"):
                    pass
            except (OSError, TimeoutError) as error:
                self.statuses[type(error).__name__] += 1
                return
            await self._pause()

    async def _is_taken(self, connection: Connection, request: Request) -> bool:
        began = time.monotonic()
        async with asyncio.timeout(ANSWER_S):
            status, body = await connection.send(request.data)
        self.times_ms.append((time.monotonic() - began) * 1000)
        self.statuses[str(status)] += 1
        if status < 300:
            self.units += request.units
            self.plan.acknowledged(request)
            return True
        self._example = self._example or body[:300].decode(errors="replace")
        await asyncio.sleep(REFUSED_S)
        return False

    async def _pause(self) -> None:
        if self.job.get("gap_s"):
            await asyncio.sleep(self.job["gap_s"])
        elif self.job.get("pace_s"):
            await asyncio.sleep(random.expovariate(1 / self.job["pace_s"]))


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


async def _burn(job: Job) -> Job:
    """Uses a share of one core, in steps of BURN_S at most."""
    share, ends_at = min(1.0, job["burn"]), time.monotonic() + job["seconds"]
    while (began := time.monotonic()) < ends_at:
        until = time.thread_time() + share * BURN_S
        while time.thread_time() < until:
            pass
        await asyncio.sleep(max(0.0, BURN_S - (time.monotonic() - began)))
    return {}


def _work(job: Job) -> Coroutine[Any, Any, Job]:
    if "burn" in job:
        return _burn(job)
    return ceiling.run(job) if job.get("ceiling") else Run(job).run()


async def _answer(job: Job) -> None:
    try:
        result = await _work(job)
    except Exception as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps({"id": job["id"], **result}), flush=True)


async def main() -> None:
    reader = asyncio.StreamReader(limit=16 * 1024 * 1024)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    gc.collect()
    gc.freeze()
    jobs: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        task = asyncio.create_task(_answer(json.loads(line)))
        jobs.add(task)
        task.add_done_callback(jobs.discard)


if __name__ == "__main__":
    uvloop.run(main())
