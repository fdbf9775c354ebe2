"""Readings a second: kept (answered with 200) and applied (shown by their sessions), and the time of a delivery."""

import asyncio
import contextlib
import time
from datetime import timedelta
from typing import Any

from bench.report.rows import CEILING, TAPWATT, USUAL, Goal, Want
from bench.rig import usual
from bench.rig.rig import Rig
from bench.rig.tapwatt import FAST, WATTS, NotAnswered, Running

CASE = "webhook"
SAMPLE = 200
"""Sessions in which the newest reading is looked for: one page of the list for operations, of all that got readings."""
AMOUNT = 50_000
APPLIED_S = 120.0
POLL_S = 0.02
GOALS = {(10, 32): Goal(Want.TIMES, 20)}


async def run(rig: Rig) -> None:
    running = await prepared(rig)
    for batch, connections in rig.scale.batches:
        for _ in range(rig.scale.rounds):
            await usual_round(rig, batch, connections)
            await tapwatt_round(rig, running, batch, connections)
            await _ceiling(rig, batch, connections)
    await _at_a_quarter(rig, running)


async def prepared(rig: Rig) -> Running:
    """Both systems with `scale.sessions` running sessions; an earlier case's are used again."""
    if rig.running is not None:
        return rig.running
    await rig.forget_sessions()
    await rig.usual.forget_sessions()
    running = await rig.tapwatt.running(FAST, AMOUNT, power_known=True)
    await rig.copy(running.original, rig.scale.sessions, without=("journal",))
    await rig.spread_kept_readings(running.original)
    await rig.usual.sessions(rig.scale.sessions)
    await rig.settle_running()
    rig.running = running
    return running


def plan(rig: Rig, running: Running, batch: int) -> dict[str, Any]:
    """Deliveries for all copies in turn."""
    original = running.original
    return rig.tapwatt.webhooks(
        batch, running.began_s, original.first_charge, original.session_format, rig.scale.sessions
    )


def usual_plan(rig: Rig, batch: int) -> dict[str, Any]:
    """The same for the usual way."""
    return {
        "path": f"/webhooks/{usual.ENDPOINT}",
        "secret": usual.SECRET,
        "batch": batch,
        "first": usual.FIRST_CHARGE,
        "count": rig.scale.sessions,
        "session": usual.SESSION,
        "began_s": time.time() - 60,
        "watts": WATTS,
    }


async def usual_round(rig: Rig, batch: int, connections: int) -> None:
    with rig.measured(USUAL) as window:
        done = await usual_load(rig, batch, connections)
    _note(rig, USUAL, batch, connections, done)
    applied = rig.rows.row(CASE, f"{_label(batch, connections)}: applied", "entries/s")
    applied.add(USUAL, done["units"] / done["seconds"], window.cpu_us(done["units"]))


async def usual_load(rig: Rig, batch: int, connections: int) -> dict[str, Any]:
    """Deliveries to the usual way, which applies before it answers."""
    return await rig.generator.run(
        seconds=rig.scale.seconds,
        port=rig.usual.port,
        connections=connections,
        kind="webhook",
        plan=usual_plan(rig, batch),
        tolerant=True,
    )


async def tapwatt_round(rig: Rig, running: Running, batch: int, connections: int) -> None:
    with rig.measured(TAPWATT) as window:
        done, drained_s = await tapwatt_load(rig, running, batch, connections)
    _note(rig, TAPWATT, batch, connections, done)
    goal = GOALS.get((batch, connections))
    applied = rig.rows.row(CASE, f"{_label(batch, connections)}: applied", "entries/s")
    applied.goal = goal
    applied.add(TAPWATT, done["units"] / (done["seconds"] + drained_s), window.cpu_us(done["units"]))


async def tapwatt_load(
    rig: Rig, running: Running, batch: int, connections: int
) -> tuple[dict[str, Any], float]:
    """Deliveries to our service; returns what was done, and the seconds until all of it was applied.

    What is refused under overload is sent again, as Monta does; each try counts in the times.
    """
    done = await rig.generator.run(
        seconds=rig.scale.seconds,
        port=rig.tapwatt.port,
        connections=connections,
        kind="webhook",
        plan=plan(rig, running, batch),
        tolerant=True,
        repeat=True,
    )
    return done, await applied_after(rig, running, dict(done["newest"]))


async def applied_after(rig: Rig, running: Running, newest: dict[int, int]) -> float:
    """Seconds from now until the sessions of the sample show their newest readings.

    The list for operations shows the copies by their numbers, the highest first; deliveries go round in random order,
    so that these are a sample of all.
    """
    original = running.original
    until = (original.created_at + timedelta(milliseconds=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    path = f"/v1/ops/payment-sessions?limit={SAMPLE}&to={until}"  # without sessions that were made later
    began = time.monotonic()
    wanted = {original.session(number): wh for number, wh in newest.items()}
    while True:
        asked = time.monotonic()
        with contextlib.suppress(NotAnswered):
            page = await rig.tapwatt.call("GET", path, ops=True)
            if all(session["energy_wh"] >= wanted.get(session["id"], 0) for session in page["data"]):
                return asked - began
        if asked - began > APPLIED_S:
            raise RuntimeError(f"readings are not applied {APPLIED_S:.0f} s after they were sent")
        await asyncio.sleep(POLL_S)


async def _ceiling(rig: Rig, batch: int, connections: int) -> None:
    with rig.measured(CEILING) as window:
        done = await rig.ceiling("webhook", batch=batch, connections=connections, seconds=rig.scale.seconds)
    for what in ("kept", "applied"):
        row = rig.rows.row(CASE, f"{_label(batch, connections)}: {what}", "entries/s")
        row.add(CEILING, done["units"] / done["seconds"], window.cpu_us(done["units"]))


async def _at_a_quarter(rig: Rig, running: Running) -> None:
    """The time of a delivery at a quarter of what is applied at most, sent at random moments.

    After a checkpoint, as in a server that has run for long: else files of the write-ahead log are made meanwhile, which
    holds up every commit for 10 to 60 ms.
    """
    await rig.settle_running()
    batch, connections = rig.scale.batches[0] if (10, 32) not in rig.scale.batches else (10, 32)
    most = rig.rows.row(CASE, f"{_label(batch, connections)}: applied", "entries/s").figure(TAPWATT)
    pace_s = connections * batch * 4 / most if most else 1.0
    job = {"port": rig.tapwatt.port, "connections": connections, "kind": "webhook", "pace_s": pace_s}
    for _ in range(rig.scale.rounds):
        done = await rig.generator.run(seconds=4 * rig.scale.seconds, plan=plan(rig, running, batch), **job)
        await applied_after(rig, running, dict(done["newest"]))
        label = f"{_label(batch, connections)}, a quarter of that load"
        rig.rows.row(CASE, f"{label}: p50", "ms").add(TAPWATT, done["p50_ms"])
        rig.rows.row(CASE, f"{label}: p99", "ms", Goal(Want.MOST, 10)).add(TAPWATT, done["p99_ms"])
        rig.rows.row(CASE, f"{label}: max", "ms").add(TAPWATT, done["max_ms"])


def _note(rig: Rig, system: str, batch: int, connections: int, done: dict[str, Any]) -> None:
    label = _label(batch, connections)
    rig.rows.row(CASE, f"{label}: kept", "entries/s").add(system, done["units"] / done["seconds"])
    rig.rows.row(CASE, f"{label}: p50", "ms").add(system, done["p50_ms"])
    rig.rows.row(CASE, f"{label}: p99", "ms").add(system, done["p99_ms"])


def _label(batch: int, connections: int) -> str:
    return f"{batch} a delivery, {connections} connections"
