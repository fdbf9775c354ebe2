"""One look of the watcher for due work, by running sessions of which none is due."""

import time
from datetime import timedelta

from app.settings import KeyedSettings, Secret
from app.watcher import Watcher
from app.wiring import open_context
from bench.report.rows import TAPWATT, Goal, Want
from bench.rig.rig import Rig
from bench.rig.tapwatt import FAST, NAME, SECRET_KEY

CASE = "tick"
WARM, LOOKS = 20, 300
AMOUNT = 50_000
NOT_NOW = timedelta(hours=1)


async def run(rig: Rig) -> None:
    await rig.forget_sessions()
    running = await rig.tapwatt.running(FAST, AMOUNT)
    rig.tapwatt.watcher.stop()
    for row in running.original.tables[
        "payment_sessions"
    ]:  # it has just begun, and is looked at again in seconds
        row.update({name: row[name] + NOT_NOW for name in ("due_at", "stop_due_at") if row[name] is not None})
    made = 0
    medians: list[float] = []
    for count in rig.scale.ticks:
        await rig.copy_many(running.original, count, made=made)
        made = count
        await rig.settle(TAPWATT)
        times_ms = await _looks(rig)
        medians.append(times_ms[len(times_ms) // 2])
        label = f"{count:,} running sessions"
        rig.rows.row(CASE, f"{label}: p50", "ms").add(TAPWATT, medians[-1])
        p99 = rig.rows.row(CASE, f"{label}: p99", "ms", Goal(Want.MOST, 1))
        p99.add(TAPWATT, times_ms[int(0.99 * len(times_ms))])
    if len(medians) > 1:
        label = f"p50 at {rig.scale.ticks[-1]:,} by that at {rig.scale.ticks[0]:,}"
        rig.rows.row(CASE, label, "x", Goal(Want.MOST, 2)).add(TAPWATT, medians[-1] / medians[0])
    await rig.forget_sessions()
    rig.tapwatt.start_watcher()


async def _looks(rig: Rig) -> list[float]:
    """Times in ms, sorted, of rounds of the real watcher in this process; it claims, finds nothing, and returns."""
    times_ms = []
    settings = KeyedSettings(secret_key=Secret(SECRET_KEY))
    async with open_context(settings, rig.database.service_url(NAME)) as context:
        watcher = Watcher(context, name="bench")
        for number in range(WARM + LOOKS):
            began = time.monotonic()
            claimed = await watcher.run_round()
            if number >= WARM and not claimed:
                times_ms.append((time.monotonic() - began) * 1000)
    return sorted(times_ms)
