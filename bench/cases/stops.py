"""From sending a reading that crosses the limit to the stop call at Monta: idle, and while deliveries saturate."""

import asyncio
import time
from typing import Any

from bench.cases import webhook
from bench.report.rows import TAPWATT, Goal, Want
from bench.rig.rig import Rig
from bench.rig.tapwatt import FAST, SLOW, Running

CASE = "stop"
LIMIT_MINOR, CROSSING_WH = 100, 990
"""1.00 EUR buys 1 kWh; with 11 kW and the time that a stop may take, this reading leaves no time."""
GAP_S = 0.05
STOPPED_S = 60.0
LOAD = (10, 32)
"""Entries a delivery and connections of the deliveries that saturate the service."""


async def run(rig: Rig) -> None:
    for _ in range(rig.scale.rounds):
        running, crossing = await _prepared(rig)
        _note(rig, "idle", await _crossed(rig, crossing), Goal(Want.MOST, 50))
        running, crossing = await _prepared(rig)
        seconds = rig.scale.stops * GAP_S + 1
        plan = webhook.plan(rig, running, LOAD[0])
        load = rig.generator.run(
            seconds=seconds, port=rig.tapwatt.port, connections=LOAD[1], kind="webhook", plan=plan
        )
        loaded = asyncio.create_task(load)
        await asyncio.sleep(seconds / 4)
        times = await _crossed(rig, crossing)
        done = await loaded
        _note(rig, "ingest saturated", times, Goal(Want.MOST, 250))
        await webhook.applied_after(rig, running, dict(done["newest"]))


async def _prepared(rig: Rig) -> tuple[Running, Running]:
    """Running sessions for readings, and others just before their limit; the watcher is idle."""
    await rig.forget_sessions()
    running = await rig.tapwatt.running(FAST, webhook.AMOUNT)
    crossing = await rig.tapwatt.running(SLOW, LIMIT_MINOR)
    await rig.copy(running.original, rig.scale.sessions)
    await rig.copy(crossing.original, rig.scale.stops)
    await rig.settle(TAPWATT)
    await rig.tapwatt.monta_log()
    return running, crossing


async def _crossed(rig: Rig, crossing: Running) -> list[float]:
    """Milliseconds of each stop; one that did not come within STOPPED_S counts as that."""
    original = crossing.original
    given: dict[str, Any] = rig.tapwatt.webhooks(
        1, crossing.began_s, original.first_charge, original.session_format, rig.scale.stops
    )
    done = await rig.generator.run(
        seconds=STOPPED_S,
        port=rig.tapwatt.port,
        connections=1,
        gap_s=GAP_S,
        kind="webhook",
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


def _note(rig: Rig, label: str, times_ms: list[float], goal: Goal) -> None:
    shares = (("p50", 0.5, None), ("p99", 0.99, goal), ("max", 1.0, None))
    for name, share, wanted in shares:
        row = rig.rows.row(CASE, f"{label}: {name}", "ms", wanted)
        row.add(TAPWATT, times_ms[min(len(times_ms) - 1, int(share * len(times_ms)))])
