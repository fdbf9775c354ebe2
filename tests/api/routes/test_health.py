"""Readiness only when everything is in order; metrics that Prometheus can read."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from app.api.figures import Together
from app.clock import SystemClock
from app.flows.admin.database_checks import clock_skew
from app.flows.context import Context
from app.main import create_app
from app.store import health
from app.store.db.database import Database
from app.telemetry import ProcessTelemetry
from tests.api.service import LOOK, charge_entry, delivery, make_context, open_service
from tests.postgres import TestCluster, as_owner

pytestmark = pytest.mark.anyio


async def ask(
    context: Context, path: str = "/health/ready", metrics: Callable[[], str] = lambda: "", key: str = ""
) -> httpx.Response:
    transport = httpx.ASGITransport(create_app(context, metrics=metrics))
    async with httpx.AsyncClient(transport=transport, base_url="http://tapwatt.test") as http:
        return await http.get(path, headers={"Authorization": f"Bearer {key}"} if key else {})


async def beat(context: Context, age_s: float = 0) -> None:
    async with context.database.transaction() as connection:
        await health.beat(connection, "wtc_1", context.clock.now() - timedelta(seconds=age_s))


async def test_ready_when_schema_clock_and_watcher_are_as_they_must_be(database_url: str) -> None:
    database = Database(database_url)
    context = make_context(database, SystemClock(await clock_skew(database, SystemClock())), virtual=False)
    try:
        await beat(context)
        answer = await ask(context)
        assert (answer.status_code, answer.json()) == (
            200,
            {
                "status": "ok",
                "checks": dict.fromkeys(("database", "schema", "clock", "watcher", "secrets"), "ok"),
            },
        )
    finally:
        await database.close()


@pytest.mark.parametrize(("offset_s", "ready"), [(1, True), (-1, True), (5, False), (-3600, False)])
async def test_a_clock_that_is_off_is_not_ready(
    database_url: str, offset_s: float, ready: bool
) -> None:  # F62
    database = Database(database_url)
    skew = await clock_skew(database, SystemClock())
    context = make_context(database, SystemClock(skew + timedelta(seconds=offset_s)), virtual=False)
    try:
        await beat(context)
        checks = (await ask(context)).json()["checks"]
        assert (checks["clock"] == "ok") == ready
        assert checks["watcher"] == "ok"
    finally:
        await database.close()


async def test_without_a_watcher_or_with_a_silent_one_it_is_not_ready(database_url: str) -> None:
    async with open_service(database_url) as service:
        assert (await ask(service.context)).status_code == 503
        await beat(service.context, age_s=31)
        silent = await ask(service.context)
        assert (silent.status_code, silent.json()["checks"]["schema"]) == (503, "ok")
        assert "tapwatt watch" in silent.json()["checks"]["watcher"]
        await beat(service.context, age_s=29)
        assert (await ask(service.context)).status_code == 200
        async with service.context.database.transaction() as connection:
            await health.leave(connection, "wtc_1")
        assert (await ask(service.context)).status_code == 503


async def test_F84_open_transactions_can_be_seen_in_the_metrics(database_url: str) -> None:
    async with open_service(database_url) as service:

        async def in_use() -> str:
            lines = (await ask(service.context, "/metrics", key=service.all_ops.api_key)).text.splitlines()
            return next(line for line in lines if line.startswith("tapwatt_database_connections_in_use"))

        assert (await in_use()).endswith(" 0.0")
        async with service.context.database.transaction():
            assert (await in_use()).endswith(" 1.0")
        assert (await in_use()).endswith(" 0.0")


async def test_a_newer_schema_is_ready_only_for_code_that_it_names(database_url: str) -> None:  # F86
    owner = await asyncpg.connect(as_owner(database_url))
    async with open_service(database_url) as service:
        await beat(service.context)
        was = await owner.fetchval("SELECT version_num FROM alembic_version")
        await owner.execute("UPDATE alembic_version SET version_num = '9999'")
        try:
            beside = await ask(service.context)
            await owner.execute("UPDATE schema_compatibility SET oldest_code = '9999'")
            too_old = await ask(service.context)
            await owner.execute("DELETE FROM schema_compatibility")
            unknown = await ask(service.context)
        finally:
            await owner.execute("UPDATE alembic_version SET version_num = $1", was)
            await owner.execute(
                "INSERT INTO schema_compatibility VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET oldest_code = $1",
                was,
            )
    await owner.close()
    assert (beside.status_code, beside.json()["checks"]["schema"]) == (200, "ok")
    for answer in (too_old, unknown):
        assert answer.status_code == 503
        assert "start a newer version" in answer.json()["checks"]["schema"]


@pytest.fixture
def bare_database_url(cluster: TestCluster) -> Iterator[str]:
    with cluster.database() as url:
        yield url


async def test_a_database_without_any_schema_is_not_ready(bare_database_url: str) -> None:
    database = Database(bare_database_url)
    try:
        answer = await ask(make_context(database, SystemClock(), virtual=True))
        assert answer.status_code == 503
        assert "tapwatt migrate" in answer.json()["checks"]["schema"]
        assert answer.json()["checks"]["database"] == "ok"
    finally:
        await database.close()


async def test_the_metrics_are_prometheus_text_and_say_what_is_true(database_url: str) -> None:
    telemetry = ProcessTelemetry()
    async with open_service(database_url) as service:
        context = replace(service.context, telemetry=telemetry)
        service.apps[0].state.context = context
        first = await service.authorize("101", "A-1")
        await service.authorize("102", "A-2")
        await service.charging(first["id"], "77")
        await service.change(first["id"], attention=LOOK)
        await service.webhook(delivery(charge_entry(77), charge_entry(78)))
        await service.webhook(b"{}", signature="sha1=00")
        telemetry.stop_confirmed(4.2)
        telemetry.settled(120, "EUR")
        await beat(service.context, age_s=7)
        async with service.context.database.transaction() as connection:
            budget = (
                "INSERT INTO monta_budgets (operator_id, quota, window_s, remaining, window_ends_at)"
                " VALUES (:o, 1000, 600, 812, now())"
            )
            await connection.execute(text(budget), {"o": service.one.operator.operator_id})
        service.context.clock.set(service.context.clock.now() + timedelta(seconds=5))  # type: ignore[attr-defined]
        answer = await ask(context, "/metrics", telemetry.text, service.all_ops.api_key)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples: dict[tuple[str, frozenset[Any]], float] = {}
    for family in text_string_to_metric_families(answer.text):
        assert family.documentation
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in samples, "told twice"
            samples[key] = sample.value

    def value(name: str, **labels: str) -> float:
        return samples[name, frozenset(labels.items())]

    assert value("tapwatt_sessions", status="charging") == 1
    assert value("tapwatt_sessions", status="authorized") == 1
    assert ("tapwatt_sessions", frozenset({("status", "completed")})) not in samples, "no count over history"
    assert value("tapwatt_sessions_needing_attention") == 1
    assert value("tapwatt_monta_budget_remaining", operator=service.one.operator.operator_id) == 812
    assert value("tapwatt_oldest_due_seconds") == 5
    assert value("tapwatt_watcher_heartbeat_age_seconds") == 12
    assert value("tapwatt_webhook_entries_total") == 2
    assert value("tapwatt_webhooks_refused_total", why="bad_signature") == 1
    assert value("tapwatt_stop_latency_seconds_count") == 1
    assert value("tapwatt_overshoot_minor_total", currency="EUR") == 120


async def test_metrics_are_for_keys_of_every_operator_and_read_the_database_at_an_interval(
    database_url: str,
) -> None:
    async with open_service(database_url) as service:
        figures, every = service.apps[0].state.figures, service.all_ops.api_key
        for key, status in (("", 401), (service.one.terminal.api_key, 401), (service.one.ops.api_key, 404)):
            assert (await service.call("GET", "/metrics", key=key)).status_code == status
        assert 'tapwatt_sessions{status="authorized"} 0.0' in await figures.text(service.context)
        await service.authorize("101", "A-1")
        shown = (await service.call("GET", "/metrics", key=every)).text
        assert 'tapwatt_sessions{status="authorized"} 0.0' in shown
        service.context.clock.set(service.context.clock.now() + timedelta(seconds=5))  # type: ignore[attr-defined]
        await figures.read(service.context)
        shown = (await service.call("GET", "/metrics", key=every)).text
        assert 'tapwatt_sessions{status="authorized"} 1.0' in shown
        assert generate_latest(Together(figures)).decode() in shown
