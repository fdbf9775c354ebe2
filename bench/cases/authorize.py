"""Authorizations a second, by callers at once; no watcher runs, so that the starts cost nothing meanwhile."""

from typing import Any

from bench.report.rows import CEILING, TAPWATT, USUAL, Goal, Want
from bench.rig import usual
from bench.rig.rig import Rig

CASE = "authorize"


async def run(rig: Rig) -> None:
    first = await rig.fresh_points()
    rig.tapwatt.watcher.stop()
    for callers in rig.scale.callers:
        for number in range(rig.scale.rounds):
            # In this order: of tables that it has seen empty, PostgreSQL checks foreign keys by reading all rows until
            # it looks again a minute later.
            await rig.settle(TAPWATT, USUAL)
            await rig.usual.forget_sessions()
            await rig.forget_sessions()
            prefix = f"A{callers}-{number}-"
            theirs = {"path": "/payment-sessions", "key": usual.KEY, "first_point": usual.FIRST_POINT}
            await _measure(rig, USUAL, rig.usual.port, callers, theirs | {"prefix": prefix})
            ours = {"path": "/v1/payment-sessions", "key": rig.tapwatt.terminal_key, "first_point": first}
            await _measure(rig, TAPWATT, rig.tapwatt.port, callers, ours | {"prefix": prefix})
            with rig.measured(CEILING) as window:
                done = await rig.ceiling("authorize", connections=callers, seconds=rig.scale.seconds)
            row = rig.rows.row(CASE, f"{callers} callers", "req/s")
            row.add(CEILING, done["units"] / done["seconds"], window.cpu_us(done["units"]))
    await rig.forget_sessions()
    rig.tapwatt.start_watcher()


async def _measure(rig: Rig, system: str, port: int, callers: int, plan: dict[str, Any]) -> None:
    given = plan | {"count": rig.scale.points}
    with rig.measured(system) as window:
        done = await rig.generator.run(
            port=port, connections=callers, seconds=rig.scale.seconds, kind="authorize", plan=given
        )
    row = rig.rows.row(CASE, f"{callers} callers", "req/s", Goal(Want.TIMES, 8))
    row.add(system, done["units"] / done["seconds"], window.cpu_us(done["units"]))
    rig.rows.row(CASE, f"{callers} callers: p50", "ms").add(system, done["p50_ms"])
    goal = Goal(Want.SHARE, 0.2) if callers > 1 else None
    rig.rows.row(CASE, f"{callers} callers: p99", "ms", goal).add(system, done["p99_ms"])
