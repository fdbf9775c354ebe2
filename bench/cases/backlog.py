"""Deliveries that could not be sent for a while come all at once: how fast they are kept, and stops meanwhile."""

import asyncio
import time
from typing import Any

from bench.cases import stops, webhook
from bench.report.rows import TAPWATT, Goal, Want
from bench.rig.rig import Rig

CASE = "backlog"
BATCH, CONNECTIONS = 10, 32
APART_S = 0.2
"""Between two readings of a charge: the course of an hour in short, since the charges began just now."""
EXPECTED = 10_000
"""Entries a second: over the time that follows from it the stops are spread."""
MOST_SPREAD_S = 120.0
"""The sessions are that far from their limit without a reading."""
WITHIN_S = 1_800.0
"""The longest that the drain may take."""


async def run(rig: Rig) -> None:
    running = await webhook.prepared(rig)
    began_s = time.time()
    close = await stops.crossing(rig)
    moments = [began_s + APART_S * number for number in range(1, rig.scale.backlog + 1)]
    await asyncio.sleep(max(0.0, moments[-1] - time.time()))
    plan: dict[str, Any] = webhook.plan(rig, running, BATCH) | {"moments": moments}
    with rig.measured(TAPWATT) as window:
        drained = asyncio.create_task(
            rig.generator.run(
                seconds=WITHIN_S,
                port=rig.tapwatt.port,
                connections=CONNECTIONS,
                kind="webhook",
                plan=plan,
                tolerant=True,
                repeat=True,
            )
        )
        await asyncio.sleep(0.5)
        seconds = min(MOST_SPREAD_S, rig.scale.sessions * rig.scale.backlog / EXPECTED)
        times = await stops.crossed(rig, close, gap_s=max(stops.GAP_S, seconds / rig.scale.stops))
        done = await drained
        applied_s = await webhook.applied_after(rig, running, dict(done["newest"]))
    label = f"{rig.scale.sessions:,} charges, {rig.scale.backlog} readings each"
    refused = sum(n for status, n in done["statuses"].items() if not status.startswith("2"))
    seconds = done["seconds"] + applied_s
    rig.rows.row(CASE, f"{label}: all applied", "s").add(TAPWATT, seconds)
    row = rig.rows.row(CASE, f"{label}: applied", "entries/s")
    row.add(TAPWATT, done["units"] / seconds, window.cpu_us(done["units"]))
    share = 100 * refused / max(sum(done["statuses"].values()), 1)
    rig.rows.row(CASE, f"{label}: refused, and sent again", "%").add(TAPWATT, share)
    stops.note(rig, label, times, Goal(Want.MOST, 1000), case=CASE)
