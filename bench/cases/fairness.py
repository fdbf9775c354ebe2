"""What one operator's reads and starts take beside another operator that does too much, or does it wrongly."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from app.demo.processes import base_environment, free_port
from app.domain.units.ids import ChargePointId, OperatorId
from app.flows.admin import provision
from app.flows.admin.provision import AddedOperator, NewOperator
from app.flows.context import Context
from app.settings import KeyedSettings, Secret
from app.wiring import open_context
from bench.cases.starts import AMOUNT, GAP_S, started
from bench.load.generator import Generator
from bench.report.rows import TAPWATT, Goal, Want
from bench.rig.fake_monta import BROKEN
from bench.rig.processes import Process, cpu_s
from bench.rig.rig import Rig
from bench.rig.tapwatt import LIMITS, NAME, SECRET_KEY

CASE = "fairness"
FLOOD = 32
"""Connections of the one who floods; each sends its next request when the last one is answered."""
WARM_S = 3.0
"""After it a flood has used up what may come at once."""
READ_S = 1.0
READERS = 8
"""Terminals that read by turns on one connection, so that each keeps within its own limit."""
BROKEN_SESSIONS = 100
PATH = "/v1/charge-points"
ALONE = "alone"
GOAL = Goal(Want.MOST, 2)
CONTROLLED = ("beside a valid key from its first call", "beside signed webhooks")
"""Floods that keep the cores busy. What that alone costs the reads is measured beside as much CPU that is used elsewhere."""
BURNERS = 3
"""For what the service, PostgreSQL and the one who floods use, one each."""


@dataclass(frozen=True, slots=True)
class Flood:
    """What somebody else sends. `warm_s`: how long before the reads begin."""

    kind: str
    plan: dict[str, Any]
    warm_s: float = WARM_S


@dataclass(frozen=True, slots=True)
class Measured:
    """Where reads are measured, by a load generator of their own: the flood's keeps nothing of them waiting."""

    rig: Rig
    reader: Generator
    burners: Sequence[Generator]
    label: str
    port: int
    service: Process

    def cpu_s(self) -> list[float]:
        """CPU seconds of the service, of PostgreSQL and of the one who floods."""
        return [cpu_s(self.service.pid), self.rig.database.cpu_s(), cpu_s(self.rig.generator.process.pid)]


async def run(rig: Rig) -> None:
    port = free_port()
    limited = Process("limited", ["app", "serve", "--port", str(port)], _usual(rig), rig.folder)
    names = ("reader", *(f"burner-{number}" for number in range(BURNERS)))
    reader, *burners = [
        Generator(Process(name, ["bench.load"], base_environment(), rig.folder)) for name in names
    ]
    limited.start()
    for each in (reader, *burners):
        await each.start()
    try:
        limited.wait_until(lambda: _answers(port))
        unlimited = Measured(rig, reader, burners, "without limits", rig.tapwatt.port, rig.tapwatt.service)
        usual = Measured(rig, reader, burners, "with limits", port, limited)
        for _ in range(rig.scale.long_rounds):
            await _round(unlimited, ("beside a valid key", "beside signed webhooks"))
            await _round(usual)
            await _starts(usual)
    finally:
        for each in (reader, *burners):
            await each.stop()
        limited.stop()


async def _round(at: Measured, only: Sequence[str] = ()) -> None:
    """The reads alone, and beside each flood of another operator's."""
    async with _context(at.rig) as context:
        flooding = await provision.add_operator(context, _operator(at.rig, "one"))
        reading = await provision.add_operator(context, _operator(at.rig, "other"))
        floods = await _floods(context, flooding)
        alone_ms, used_alone = await _read(at, await _terminals(context, reading, READERS))
        at.rig.rows.row(CASE, f"{at.label}, {ALONE}: p99", "ms").add(TAPWATT, alone_ms)
        for beside, flood in floods.items():
            if only and beside not in only:
                continue
            p99_ms, used = await _read(at, await _terminals(context, reading, READERS), flood)
            _add(at, beside, p99_ms, alone_ms)
            if beside in CONTROLLED:
                more = [max(0.0, one - other) for one, other in zip(used, used_alone, strict=True)]
                p99_ms, _ = await _read(at, await _terminals(context, reading, READERS), burnt=more)
                _add(
                    at, f"beside as much CPU as {beside.removeprefix('beside ')}", p99_ms, alone_ms, goal=None
                )


def _add(at: Measured, what: str, p99_ms: float, alone_ms: float, goal: Goal | None = GOAL) -> None:
    at.rig.rows.row(CASE, f"{at.label}, {what}: p99", "ms").add(TAPWATT, p99_ms)
    goal = goal if at.label == "with limits" else None
    at.rig.rows.row(CASE, f"{at.label}, {what}: p99 by alone", "x", goal).add(TAPWATT, p99_ms / alone_ms)


async def _floods(context: Context, operator: AddedOperator) -> dict[str, Flood]:
    valid, fresh = await _terminals(context, operator, 2)
    webhook = {
        "path": operator.webhook_path,
        "secret": operator.webhook_secret,
        "batch": 10,
        "first": 1,
        "count": 100,
        "session": "ps_unknown",
        "began_s": time.time(),
        "watts": 1000,
    }
    return {
        "beside a valid key from its first call": Flood("get", _reads([fresh]), warm_s=0),
        "beside a valid key": Flood("get", _reads([valid])),
        "beside wrong keys": Flood("get", _reads(["trm_wrong"])),
        "beside webhooks with a wrong signature": Flood("webhook", webhook | {"secret": "another"}),
        "beside signed webhooks": Flood("webhook", webhook),
    }


async def _read(
    at: Measured, keys: Sequence[str], flood: Flood | None = None, *, burnt: Sequence[float] = ()
) -> tuple[float, list[float]]:
    """The p99 in ms of reads with these keys, and the shares of a core that were used meanwhile. `burnt`: such shares
    that others use."""
    flooding = None
    if flood is not None:
        flooding = asyncio.create_task(
            at.rig.generator.run(
                port=at.port,
                connections=FLOOD,
                seconds=flood.warm_s + READ_S + 0.5,
                kind=flood.kind,
                plan=flood.plan,
                tolerant=True,
            )
        )
        await asyncio.sleep(flood.warm_s)
    burning = [
        asyncio.create_task(burner.run(burn=share, seconds=READ_S + 0.2))
        for burner, share in zip(at.burners, burnt, strict=False)
    ]
    plan, before, began = _reads(keys), at.cpu_s(), time.monotonic()
    done = await at.reader.run(port=at.port, connections=1, seconds=READ_S, kind="get", plan=plan)
    took_s = time.monotonic() - began
    used = [(now - then) / took_s for now, then in zip(at.cpu_s(), before, strict=True)]
    await asyncio.gather(*burning, *([flooding] if flooding is not None else []))
    return float(done["p99_ms"]), used


async def _starts(at: Measured) -> None:
    """Reads, and starts after their 201, alone and beside an operator whose credentials Monta refuses."""
    first = await at.rig.fresh_points()
    async with _context(at.rig) as context:
        reading = await provision.add_operator(context, _operator(at.rig, "third"))
        await at.rig.forget_sessions()
        alone = (
            await _start_ms(at.rig, first),
            (await _read(at, await _terminals(context, reading, READERS)))[0],
        )
        refused = await provision.add_operator(context, _operator(at.rig, "refused", client_id=BROKEN))
        await at.rig.forget_sessions()
        await _hold(at.rig, context, refused)
        beside = (
            await _start_ms(at.rig, first),
            (await _read(at, await _terminals(context, reading, READERS)))[0],
        )
    await at.rig.forget_sessions()
    _add(at, "beside refused credentials", beside[1], alone[1])
    _add(at, "beside refused credentials, starts", beside[0], alone[0])


async def _start_ms(rig: Rig, first_point: int) -> float:
    """The p99 from the answer to an authorization to the POST at Monta."""
    tapwatt, times_ms = rig.tapwatt, []
    await tapwatt.monta_log()
    for number in range(rig.scale.stops):
        await tapwatt.authorized(str(first_point + number), AMOUNT)
        answered = time.monotonic()
        (posted,) = await started(tapwatt, 1)
        times_ms.append((posted - answered) * 1000)
        await asyncio.sleep(GAP_S)
    times_ms.sort()
    return times_ms[int(0.99 * len(times_ms))]


async def _hold(rig: Rig, context: Context, operator: AddedOperator) -> None:
    """Makes sessions that cannot be started."""
    points = [ChargePointId(str(9_000_000 + number)) for number in range(BROKEN_SESSIONS)]
    terminal = await provision.add_terminal(
        context, OperatorId(operator.operator_id), provider="bench", name="Refused", charge_point_ids=points
    )
    plan = {
        "path": "/v1/payment-sessions",
        "key": terminal.api_key,
        "first_point": 9_000_000,
        "count": BROKEN_SESSIONS,
        "prefix": f"R{time.time_ns()}-",
    }
    await rig.generator.run(port=rig.tapwatt.port, connections=4, seconds=60, kind="authorize", plan=plan)


def _reads(keys: Sequence[str]) -> dict[str, Any]:
    return {"path": PATH, "key": keys[0], "keys": keys[1:], "count": 1}


@asynccontextmanager
async def _context(rig: Rig) -> AsyncIterator[Context]:
    settings = KeyedSettings(secret_key=Secret(SECRET_KEY))
    async with open_context(settings, rig.database.service_url(NAME)) as context:
        yield context


async def _terminals(context: Context, operator: AddedOperator, count: int) -> list[str]:
    """Keys of new terminals."""
    owner, point = OperatorId(operator.operator_id), [ChargePointId("1")]
    return [
        (
            await provision.add_terminal(
                context, owner, provider="bench", name=f"Fair {number}", charge_point_ids=point
            )
        ).api_key
        for number in range(count)
    ]


def _operator(rig: Rig, name: str, client_id: str = "bench") -> NewOperator:
    return NewOperator(
        name=name,
        monta_url=f"http://127.0.0.1:{rig.tapwatt.monta_port}/api/v1",
        client_id=client_id,
        client_secret="bench",
        paying_team_id="14",
    )


def _usual(rig: Rig) -> dict[str, str]:
    """The service's environment with the limits that it has by default."""
    return {name: value for name, value in rig.tapwatt.environment.items() if name not in LIMITS}


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/live", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
