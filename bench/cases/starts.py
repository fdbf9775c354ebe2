"""Starts: a second, from a backlog of due sessions; and after the answer of a single authorization."""

import asyncio
import time

from bench.report.rows import TAPWATT, Goal, Want
from bench.rig.rig import Rig
from bench.rig.tapwatt import Tapwatt

CASE = "start"
CALLERS = 16
STARTED_S = 120.0
POLL_S = 0.02
GAP_S = 0.1
AMOUNT = 50_000


async def run(rig: Rig) -> None:
    first = await rig.fresh_points()
    for number in range(rig.scale.rounds):
        await _backlog(rig, first, f"S{number}-")
        await _single(rig, first)
    await rig.forget_sessions()


async def _backlog(rig: Rig, first: int, prefix: str) -> None:
    """Authorizes while no watcher runs, then measures from the first POST at Monta to the last one."""
    tapwatt, count = rig.tapwatt, rig.scale.starts
    tapwatt.watcher.stop()
    await rig.forget_sessions()
    plan = {
        "path": "/v1/payment-sessions",
        "key": tapwatt.terminal_key,
        "first_point": first,
        "count": count,
        "prefix": prefix,
    }
    await rig.generator.run(
        seconds=STARTED_S, port=tapwatt.port, connections=CALLERS, kind="authorize", plan=plan
    )
    await tapwatt.monta_log()
    tapwatt.start_watcher()
    times = await started(tapwatt, 1)
    with rig.measured(TAPWATT) as window:
        times += await started(tapwatt, count - len(times))
    row = rig.rows.row(CASE, f"backlog of {count}", "starts/s", Goal(Want.LEAST, 300))
    row.add(TAPWATT, (count - 1) / max(times[-1] - times[0], 1e-3), window.cpu_us(count))


async def started(tapwatt: Tapwatt, count: int) -> list[float]:
    """Waits for `count` POSTs at Monta, or more; returns their times."""
    found: list[float] = []
    ends_at = time.monotonic() + STARTED_S
    while len(found) < count:
        found += [at for at, kind, _ in await tapwatt.monta_log() if kind == "start"]
        if time.monotonic() > ends_at:
            raise RuntimeError(f"{len(found)} of {count} sessions were started in {STARTED_S:.0f} s")
        await asyncio.sleep(POLL_S)
    return found


async def _single(rig: Rig, first: int) -> None:
    """From the answer to an authorization to the POST at Monta, on an idle machine."""
    tapwatt, count = rig.tapwatt, rig.scale.stops
    await rig.forget_sessions()
    await tapwatt.monta_log()
    times_ms = []
    for number in range(count):
        await tapwatt.authorized(str(first + number), AMOUNT)
        answered = time.monotonic()
        (posted,) = await started(tapwatt, 1)
        times_ms.append((posted - answered) * 1000)
        await asyncio.sleep(GAP_S)
    times_ms.sort()
    for name, share, goal in (("p50", 0.5, Goal(Want.MOST, 20)), ("p99", 0.99, None)):
        row = rig.rows.row(CASE, f"single, after its 201: {name}", "ms", goal)
        row.add(TAPWATT, times_ms[min(count - 1, int(share * count))])
