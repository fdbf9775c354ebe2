"""Deliveries that are sent once more as they were: what they cost beside new ones, and whether they change anything."""

import asyncio
import time
from typing import Any

from bench.cases import webhook
from bench.report.rows import TAPWATT, USUAL, Goal, Want
from bench.rig.rig import Rig

CASE = "replay"
BATCH, CONNECTIONS = 10, 32
APART_S = 0.05
"""Between two readings of a charge."""
CHARGES = 2_000
READINGS = {USUAL: 1, TAPWATT: 10}
"""Of each charge in a round: enough for a second or so."""
WITHIN_S = 120.0
QUIET_S = 0.5
"""As long as nothing may have changed: readings that fill a session are applied to it beside deliveries."""
STATE = """
SELECT s.id, hashtext(s::text), hashtext(k::text), (SELECT count(*) FROM journal j WHERE j.session_id = s.id)
FROM payment_sessions s LEFT JOIN kept_readings k ON k.session_id = s.id
"""


async def run(rig: Rig) -> None:
    running = await webhook.prepared(rig)
    for _ in range(rig.scale.rounds):
        for system, port, plan in (
            (USUAL, rig.usual.port, webhook.usual_plan(rig, BATCH)),
            (TAPWATT, rig.tapwatt.port, webhook.plan(rig, running, BATCH)),
        ):
            some = {"count": min(CHARGES, rig.scale.sessions), "moments": await _moments(READINGS[system])}
            await _twice(rig, system, port, plan | some)


async def _moments(count: int) -> list[float]:
    """Times of readings that are newer than all before, and over."""
    began_s = time.time()
    await asyncio.sleep(APART_S * (count + 1))
    return [began_s + APART_S * number for number in range(1, count + 1)]


async def _twice(rig: Rig, system: str, port: int, plan: dict[str, Any]) -> None:
    costs: list[float] = []
    states: list[set[Any]] = []
    for label in ("new", "sent again"):
        with rig.measured(system) as window:
            done = await rig.generator.run(
                seconds=WITHIN_S, port=port, connections=CONNECTIONS, kind="webhook", plan=plan
            )
        cpu_us = window.cpu_us(done["units"])
        costs.append(sum(cpu_us.values()))
        row = rig.rows.row(CASE, f"{BATCH} a delivery, {CONNECTIONS} connections: {label}", "entries/s")
        row.add(system, done["units"] / done["seconds"], cpu_us)
        if system == TAPWATT:
            states.append(await _quiet_state(rig))
    goal = Goal(Want.MOST, 0.5)
    rig.rows.row(CASE, "CPU of an entry that is sent again by that of a new one", "x", goal).add(
        system, costs[1] / costs[0]
    )
    if system == TAPWATT:
        row = rig.rows.row(CASE, "sessions that it changes", "sessions", Goal(Want.MOST, 0))
        row.add(TAPWATT, len(states[1] - states[0]))


async def _quiet_state(rig: Rig) -> set[Any]:
    """Every session with its kept readings and the length of its journal, in short, once nothing changes any more."""
    connection = await rig.database.connect(TAPWATT)
    try:
        async with asyncio.timeout(WITHIN_S):
            now: set[Any] = set()
            while True:
                before, now = now, {tuple(record) for record in await connection.fetch(STATE)}
                if before == now:
                    return now
                await asyncio.sleep(QUIET_S)
    finally:
        await connection.close()
