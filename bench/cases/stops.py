"""From sending a reading that crosses the limit to the stop call at Monta: idle, and while deliveries saturate."""

import asyncio
import time
from typing import Any

from bench.cases import webhook
from bench.report.rows import TAPWATT, Goal, Want
from bench.rig.rig import Rig
from bench.rig.tapwatt import Running

CASE = "stop"
LIMIT_MINOR, CROSSING_WH = 100, 990
"""1.00 EUR buys 1 kWh; with 11 kW and the time that a stop may take, this reading leaves no time."""
GAP_S = 0.05
STOPPED_S = 60.0
LOAD = (10, 32)
"""Entries a delivery and connections of the deliveries that saturate the service."""


async def run(rig: Rig) -> None:
    running = await webhook.prepared(rig)
    for _ in range(rig.scale.rounds):
        note(rig, "idle", await crossed(rig, await crossing(rig)), Goal(Want.MOST, 50))
        close = await crossing(rig)
        seconds = rig.scale.stops * GAP_S + 1
        times, done = await _under_load(rig, running, close, connections=LOAD[1], seconds=seconds)
        note(rig, "ingest saturated", times, Goal(Want.MOST, 250))
        await webhook.applied_after(rig, running, dict(done["newest"]))


async def run_overload(rig: Rig) -> None:
    """Many more senders than can be served: stops, refusals, and how soon everything is applied afterwards."""
    running, case, connections = await webhook.prepared(rig), "overload", rig.scale.overload
    close = await crossing(rig)
    times, done = await _under_load(
        rig, running, close, connections=connections, seconds=rig.scale.overload_s, tolerant=True
    )
    note(rig, f"{connections} senders", times, Goal(Want.MOST, 1000), case=case)
    recovered_s = await webhook.applied_after(rig, running, dict(done["newest"]))
    refused = sum(n for status, n in done["statuses"].items() if not status.startswith("2"))
    label = f"{connections} senders"
    rig.rows.row(case, f"{label}: kept", "entries/s").add(TAPWATT, done["units"] / done["seconds"])
    rig.rows.row(case, f"{label}: refused, to be repeated", "%").add(
        TAPWATT, 100 * refused / max(sum(done["statuses"].values()), 1)
    )
    rig.rows.row(case, f"{label}: all applied, after the end", "s").add(TAPWATT, recovered_s)


async def crossing(rig: Rig) -> Running:
    """Sessions just before their limit; the watcher is idle."""
    close = await rig.tapwatt.running(next(rig.slow_points), LIMIT_MINOR)
    await rig.copy(close.original, rig.scale.stops, without=("journal",))
    await rig.settle(TAPWATT)
    await rig.tapwatt.monta_log()
    return close


async def _under_load(
    rig: Rig, running: Running, close: Running, *, connections: int, seconds: float, tolerant: bool = False
) -> tuple[list[float], dict[str, Any]]:
    """Crossings while deliveries saturate the service; returns their times and what the load did."""
    load = rig.generator.run(
        seconds=seconds,
        port=rig.tapwatt.port,
        connections=connections,
        kind="webhook",
        plan=webhook.plan(rig, running, LOAD[0]),
        tolerant=tolerant,
    )
    loaded = asyncio.create_task(load)
    await asyncio.sleep(seconds / 4)
    times = await crossed(rig, close)
    return times, await loaded


async def crossed(rig: Rig, close: Running, *, gap_s: float = GAP_S) -> list[float]:
    """Milliseconds of each stop; one that did not come within STOPPED_S counts as that."""
    original = close.original
    given: dict[str, Any] = rig.tapwatt.webhooks(
        1, close.began_s, original.first_charge, original.session_format, rig.scale.stops
    )
    done = await rig.generator.run(
        seconds=STOPPED_S + gap_s * rig.scale.stops,
        port=rig.tapwatt.port,
        connections=1,
        gap_s=gap_s,
        kind="webhook",
        tolerant=True,
        repeat=True,
        plan=given | {"wh": CROSSING_WH},
    )
    sent = {str(original.first_charge + number): at for number, at in done["sent"]}
    stopped: dict[str, float] = {}
    ends_at = time.monotonic() + STOPPED_S
    while len(stopped) < len(sent) and time.monotonic() < ends_at:
        await asyncio.sleep(0.1)
        for at, kind, charge in await rig.tapwatt.monta_log():
            if kind == "stop" and charge in sent:
                stopped.setdefault(charge, at)
    return sorted((stopped.get(charge, at + STOPPED_S) - at) * 1000 for charge, at in sent.items())


def note(rig: Rig, label: str, times_ms: list[float], goal: Goal, *, case: str = CASE) -> None:
    shares = (("p50", 0.5, None), ("p99", 0.99, goal), ("max", 1.0, None))
    for name, share, wanted in shares:
        row = rig.rows.row(
            case, f"{label}: stop {name}" if case != CASE else f"{label}: {name}", "ms", wanted
        )
        row.add(TAPWATT, times_ms[min(len(times_ms) - 1, int(share * len(times_ms)))])
