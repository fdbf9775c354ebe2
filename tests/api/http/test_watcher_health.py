"""A watcher's port: its metrics, whether its loop turns, and whether it writes its heartbeat."""

import asyncio
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from app.api.http.watcher_health import watcher_app
from app.watcher import BEAT_S, STUCK_S, Watcher
from tests.api.service import open_service
from tests.conftest import PATIENCE_S

pytestmark = pytest.mark.anyio


def asked(app: Any, path: str) -> tuple[int, str]:
    with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://watcher.test") as http:
        answer = http.get(path)
        return answer.status_code, answer.text


async def test_probes_follow_the_loop_and_the_heartbeat(database_url: str) -> None:
    async with open_service(database_url) as service:
        clock = service.context.clock
        watcher = Watcher(service.context, name="watched")
        registry = CollectorRegistry()
        Counter("tapwatt_seen", "Something.", registry=registry).inc()
        app = watcher_app(registry, {"/health/live": watcher.lives, "/health/ready": watcher.is_ready})
        assert asked(app, "/health/live") == (200, "ok\n")
        assert asked(app, "/health/ready") == (503, "not ok\n"), "no heartbeat was written yet"
        await watcher.beat_once()
        assert asked(app, "/health/ready") == (200, "ok\n")
        await clock.advance(4 * BEAT_S)  # type: ignore[attr-defined]
        assert asked(app, "/health/ready")[0] == 503, "the database is away, or the process is stuck"
        assert asked(app, "/health/live")[0] == 200, "which is no reason to start it again"
        await clock.advance(STUCK_S)  # type: ignore[attr-defined]
        assert asked(app, "/health/live") == (503, "not ok\n")
        assert "tapwatt_seen_total 1.0" in asked(app, "/metrics")[1]


async def test_a_watcher_that_works_lives(database_url: str) -> None:
    async with open_service(database_url) as service:
        watcher = Watcher(service.context, name="watched")
        await service.context.clock.advance(STUCK_S)  # type: ignore[attr-defined]
        assert not watcher.lives()
        running = asyncio.create_task(watcher.run())
        async with asyncio.timeout(PATIENCE_S):
            while not watcher.lives():  # noqa: ASYNC110  its loop has no event of its turns
                await asyncio.sleep(0)
        watcher.stop()
        await running
