"""Long polls that wait: what they cost while nothing changes, and how soon they are answered when their sessions do."""

import asyncio
import time
from typing import Any

from bench.cases import webhook
from bench.report.rows import TAPWATT, Goal, Want
from bench.rig.rig import Rig
from bench.rig.tapwatt import FAST, WATTS, Running

CASE = "wait"
WAIT_S = 30
"""The longest that a long poll may ask for."""
OF_ONE_TERMINAL = 200
"""The most long polls of one terminal at once."""
BEGUN_A_SECOND = 1_000
QUIET_S = 5.0
CONNECTIONS, CHANGES_A_SECOND = 10, 500
TRANSACTIONS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1"


async def run(rig: Rig) -> None:
    count = rig.scale.polls
    await rig.forget_sessions()
    running = await rig.tapwatt.running(FAST, webhook.AMOUNT)
    shown = await rig.tapwatt.call("GET", f"/v1/payment-sessions/{running.original.session_id}")
    await rig.copy(running.original, count, without=("journal",))
    keys = await rig.tapwatt.spread_over_terminals(running.original, count, OF_ONE_TERMINAL)
    await rig.settle(TAPWATT)
    path = f"/v1/payment-sessions/{running.original.session_format}?wait={WAIT_S}&version={shown['version']}"
    polls = asyncio.create_task(
        rig.generator.run(
            seconds=WAIT_S,
            port=rig.tapwatt.port,
            connections=count,
            kind="polls",
            plan={"path": path, "keys": keys, "share": OF_ONE_TERMINAL, "count": count},
        )
    )
    await asyncio.sleep(1 + count / BEGUN_A_SECOND)
    await _quiet(rig, f"{count:,} long polls")
    await _woken(rig, f"{count:,} long polls", running, polls)
    await rig.forget_sessions()


async def _quiet(rig: Rig, label: str) -> None:
    connection = await rig.database.connect(TAPWATT)
    before = await connection.fetchval(TRANSACTIONS, TAPWATT)
    with rig.measured(TAPWATT) as window:
        await asyncio.sleep(QUIET_S)
    made = await connection.fetchval(TRANSACTIONS, TAPWATT) - before
    await connection.close()
    rig.rows.row(CASE, f"{label}: transactions of all processes", "1/s", Goal(Want.MOST, 100)).add(
        TAPWATT, made / window.seconds
    )
    for part, name in (("service", "service"), ("postgres", "PostgreSQL")):
        row = rig.rows.row(CASE, f"{label}: {name}", "ms CPU/s")
        row.add(TAPWATT, window.cpu_s[part] * 1000 / window.seconds)


async def _woken(rig: Rig, label: str, running: Running, polls: "asyncio.Task[dict[str, Any]]") -> None:
    """From sending a reading of each session to the answer of its long poll."""
    original = running.original
    plan: dict[str, Any] = rig.tapwatt.webhooks(
        1, running.began_s, original.first_charge, original.session_format, rig.scale.polls
    )
    done = await rig.generator.run(
        seconds=WAIT_S,
        port=rig.tapwatt.port,
        connections=CONNECTIONS,
        pace_s=CONNECTIONS / CHANGES_A_SECOND,
        kind="webhook",
        plan=plan | {"wh": int(WATTS * (time.time() - running.began_s) / 3600)},
    )
    answered = dict((await polls)["answered"])
    times = sorted((answered[number] - at) * 1000 for number, at in done["sent"] if number in answered)
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        row = rig.rows.row(CASE, f"{label}, their sessions change: answered after, {name}", "ms")
        row.add(TAPWATT, times[min(len(times) - 1, int(share * len(times)))])
    early = sum(each < 0 for each in times) + rig.scale.polls - len(times)
    rig.rows.row(CASE, f"{label}: answered before, or not at all", "polls", Goal(Want.MOST, 0)).add(
        TAPWATT, early
    )
