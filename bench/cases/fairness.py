"""What one operator's reads take while another caller floods the service, without limits of calls and with them."""

import asyncio
import time

import httpx
from pydantic import SecretStr

from app.demo.processes import free_port
from app.domain.units.ids import ChargePointId, OperatorId
from app.flows.admin import provision
from app.flows.admin.provision import NewOperator
from app.settings import KeyedSettings
from app.wiring import open_context
from bench.report.rows import TAPWATT, Goal, Want
from bench.rig.processes import Process
from bench.rig.rig import Rig
from bench.rig.tapwatt import LIMITS, NAME, SECRET_KEY

CASE = "fairness"
FLOOD = 32
"""Connections of the one who floods; each sends its next request when the last one is answered."""
WARM_S = 8.0
"""After it a flood has used up what may come at once."""
READ_S = 0.25
"""Of one measurement; the reader keeps within its own limit."""
PATH = "/v1/charge-points"


async def run(rig: Rig) -> None:
    limited = Process(
        "limited", ["app", "serve", "--port", str(port := free_port())], _usual(rig), rig.folder
    )
    limited.start()
    try:
        limited.wait_until(lambda: _answers(port))
        for label, at in (("without limits", rig.tapwatt.port), ("with limits", port)):
            for _ in range(rig.scale.rounds):
                await _round(rig, label, at)
    finally:
        limited.stop()


async def _round(rig: Rig, label: str, port: int) -> None:
    """The reads alone, and beside each flood, after that one has used up what it may send at once."""
    flood, *keys = await _keys(rig, 5)
    webhook = {"path": rig.tapwatt.webhook_path, "secret": "another", "batch": 10, "first": 1, "count": 100}
    floods = {
        "alone": None,
        "beside one beyond its quota": ("get", {"path": PATH, "key": flood, "count": 1}),
        "beside wrong keys": ("get", {"path": PATH, "key": "trm_wrong", "count": 1}),
        "beside webhooks with a wrong signature": (
            "webhook",
            webhook | {"session": "ps_unknown", "began_s": time.time(), "watts": 1000},
        ),
    }
    alone_ms = 0.0
    for (beside, sent), key in zip(floods.items(), keys, strict=True):
        flooding = _flood(rig, port, *sent) if sent else None
        if flooding is not None:
            await asyncio.sleep(WARM_S)
        plan = {"path": PATH, "key": key, "count": 1}
        done = await rig.generator.run(port=port, connections=1, seconds=READ_S, kind="get", plan=plan)
        if flooding is not None:
            await flooding
        p99_ms = done["p99_ms"]
        rig.rows.row(CASE, f"{label}, {beside}: p99", "ms").add(TAPWATT, p99_ms)
        alone_ms = alone_ms or p99_ms
        if sent:
            goal = Goal(Want.MOST, 2) if label == "with limits" else None
            rig.rows.row(CASE, f"{label}, {beside}: p99 by alone", "x", goal).add(TAPWATT, p99_ms / alone_ms)


def _flood(rig: Rig, port: int, kind: str, plan: dict[str, object]) -> "asyncio.Task[object]":
    return asyncio.create_task(
        rig.generator.run(
            port=port, connections=FLOOD, seconds=WARM_S + 4 * READ_S, kind=kind, plan=plan, tolerant=True
        )
    )


async def _keys(rig: Rig, count: int) -> list[str]:
    """Keys of new terminals: the first of one operator, the others of another."""
    settings = KeyedSettings(secret_key=SecretStr(SECRET_KEY))
    made = []
    async with open_context(settings, rig.database.service_url(NAME)) as context:
        owners = [
            (await provision.add_operator(context, _operator(rig, name))).operator_id
            for name in ("one", "other")
        ]
        for number in range(count):
            owner = OperatorId(owners[min(number, 1)])
            point = [ChargePointId("1")]
            added = await provision.add_terminal(
                context, owner, provider="bench", name="Fair", charge_point_ids=point
            )
            made.append(added.api_key)
    return made


def _operator(rig: Rig, name: str) -> NewOperator:
    return NewOperator(
        name=name,
        monta_url=f"http://127.0.0.1:{rig.tapwatt.monta_port}/api/v1",
        client_id="bench",
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
