"""Authorizations a second, by callers at once. Without a watcher, whose starts would cost some meanwhile, and beside it."""

from dataclasses import dataclass
from typing import Any

from bench.report.rows import CEILING, TAPWATT, USUAL, Goal, Want
from bench.rig import usual
from bench.rig.rig import Rig

CASE = "authorize"
GOAL = Goal(Want.TIMES, 8)
BESIDE = 16
"""Callers beside a running watcher, at most."""


@dataclass(frozen=True, slots=True)
class _Round:
    label: str
    callers: int
    prefix: str
    goal: Goal | None = None


async def run(rig: Rig) -> None:
    first = await rig.fresh_points()
    rig.tapwatt.watcher.stop()
    await _alone(rig, first)
    await _beside_the_watcher(rig, first)
    await rig.forget_sessions()
    rig.tapwatt.start_watcher()


async def _alone(rig: Rig, first: int) -> None:
    for callers in rig.scale.callers:
        for number in range(rig.scale.rounds):
            # In this order: of tables that it has seen empty, PostgreSQL checks foreign keys by reading all rows until
            # it looks again a minute later.
            await rig.settle(TAPWATT, USUAL)
            await rig.usual.forget_sessions()
            await rig.forget_sessions()
            this = _Round(f"{callers} callers", callers, f"A{callers}-{number}-", GOAL)
            await _measure_usual(rig, this)
            await _measure_ours(rig, this, first)
            with rig.measured(CEILING) as window:
                done = await rig.ceiling("authorize", connections=callers, seconds=rig.scale.seconds)
            row = rig.rows.row(CASE, this.label, "req/s")
            row.add(CEILING, done["units"] / done["seconds"], window.cpu_us(done["units"]))


async def _beside_the_watcher(rig: Rig, first: int) -> None:
    """The same while the watcher starts each charge at once. The usual way starts none."""
    callers = min(BESIDE, max(rig.scale.callers))
    label = f"{callers} callers, beside the watcher"
    for number in range(rig.scale.rounds):
        this = _Round(label, callers, f"W{number}-")
        await rig.settle(TAPWATT, USUAL)
        await rig.usual.forget_sessions()
        await rig.forget_sessions()
        await _measure_usual(rig, this)
        rig.tapwatt.start_watcher()
        await rig.tapwatt.monta_log()
        seconds = await _measure_ours(rig, this, first)
        started = [at for at, kind, _ in await rig.tapwatt.monta_log() if kind == "start"]
        rig.rows.row(CASE, f"{label}: started meanwhile", "starts/s").add(TAPWATT, len(started) / seconds)
        rig.tapwatt.watcher.stop()


async def _measure_usual(rig: Rig, this: _Round) -> None:
    plan = {"path": "/payment-sessions", "key": usual.KEY, "first_point": usual.FIRST_POINT}
    await _measure(rig, USUAL, rig.usual.port, this, plan)


async def _measure_ours(rig: Rig, this: _Round, first: int) -> float:
    plan = {"path": "/v1/payment-sessions", "key": rig.tapwatt.terminal_key, "first_point": first}
    return await _measure(rig, TAPWATT, rig.tapwatt.port, this, plan)


async def _measure(rig: Rig, system: str, port: int, this: _Round, plan: dict[str, Any]) -> float:
    """Adds a system's figures of one round; returns the seconds that it took."""
    given = plan | {"prefix": this.prefix, "count": rig.scale.points}
    with rig.measured(system) as window:
        done = await rig.generator.run(
            port=port, connections=this.callers, seconds=rig.scale.seconds, kind="authorize", plan=given
        )
    row = rig.rows.row(CASE, this.label, "req/s", this.goal)
    row.add(system, done["units"] / done["seconds"], window.cpu_us(done["units"]))
    rig.rows.row(CASE, f"{this.label}: p50", "ms").add(system, done["p50_ms"])
    most = Goal(Want.SHARE, 0.2) if this.goal and this.callers > 1 else None
    rig.rows.row(CASE, f"{this.label}: p99", "ms", most).add(system, done["p99_ms"])
    return float(done["seconds"])
