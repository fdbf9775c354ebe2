"""Reads a second: one session by its terminal, and the newest 50 for operations."""

from typing import Any

from bench.cases.webhook import prepared
from bench.report.rows import CEILING, TAPWATT, USUAL, Goal, Want
from bench.rig import usual
from bench.rig.rig import Rig

CALLERS = 16


async def run_read(rig: Rig) -> None:
    running = await prepared(rig)
    count = rig.scale.sessions
    theirs = {"path": f"/payment-sessions/{usual.SESSION}", "key": usual.KEY, "count": count}
    path = f"/v1/payment-sessions/{running.original.session_format}"
    ours = {"path": path, "key": rig.tapwatt.terminal_key, "count": count}
    await measure(
        rig, "read", "one session", theirs=theirs, ours=ours, ceiling="get", goal=Goal(Want.TIMES, 4)
    )


async def run_list(rig: Rig) -> None:
    await prepared(rig)
    theirs = {"path": "/ops/payment-sessions?limit=50", "key": usual.KEY, "count": 1}
    ours = {"path": "/v1/ops/payment-sessions?limit=50", "key": rig.tapwatt.ops_key, "count": 1}
    await measure(
        rig, "list", "newest 50", theirs=theirs, ours=ours, ceiling="list", goal=Goal(Want.TIMES, 4)
    )


async def measure(
    rig: Rig,
    case: str,
    label: str,
    *,
    theirs: dict[str, Any],
    ours: dict[str, Any],
    ceiling: str | None = None,
    goal: Goal | None = None,
) -> None:
    """Reads by turns from both, and the ceiling if there is one."""
    row = rig.rows.row(case, f"{label}, {CALLERS} callers", "req/s", goal)
    for _ in range(rig.scale.rounds):
        for system, port, plan in ((USUAL, rig.usual.port, theirs), (TAPWATT, rig.tapwatt.port, ours)):
            with rig.measured(system) as window:
                done = await rig.generator.run(
                    port=port, connections=CALLERS, seconds=rig.scale.seconds, kind="get", plan=plan
                )
            row.add(system, done["units"] / done["seconds"], window.cpu_us(done["units"]))
            rig.rows.row(case, f"{label}, {CALLERS} callers: p99", "ms").add(system, done["p99_ms"])
        if ceiling is not None:
            with rig.measured(CEILING) as window:
                done = await rig.ceiling(ceiling, connections=CALLERS, seconds=rig.scale.seconds)
            row.add(CEILING, done["units"] / done["seconds"], window.cpu_us(done["units"]))
