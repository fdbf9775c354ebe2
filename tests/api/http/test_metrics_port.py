"""A port for metrics and probes: a watcher's loop and heartbeat, and callers that are slow or too many."""

import asyncio
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from app.api.figures import Figures, Together
from app.api.http import metrics_port
from app.api.http.metrics_port import MOST_OF_ONE_ADDRESS, metrics_app, probes, serve_metrics
from app.telemetry import ProcessTelemetry
from app.watcher import BEAT_S, STUCK_S, Watcher
from tests.api.service import open_service
from tests.checks.exported_metrics import exported
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
        app = metrics_app(registry, probes(live=watcher.lives, ready=watcher.is_ready))
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


async def test_the_services_port_has_every_metric_that_rules_and_dashboard_may_name(
    database_url: str,
) -> None:
    async with open_service(database_url) as service:
        figures, telemetry = Figures(), ProcessTelemetry()
        app = metrics_app(Together(figures, telemetry.registry), {})

        def shown() -> set[str]:
            return set(re.findall("^# TYPE (\\S+) ", asked(app, "/metrics")[1], re.MULTILINE))

        reading = asyncio.create_task(figures.keep_reading(service.context))
        await asyncio.sleep(0)
        assert "tapwatt_figures_age_seconds" in shown(), "also before the database has answered once"
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
        await figures.read(service.context)
        single = {re.sub("_(bucket|count|sum)$", "", name) for name in exported()}
        assert single - shown() == set()


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


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A served port of this machine."""
    registry = CollectorRegistry()
    Counter("tapwatt_seen", "Something.", registry=registry).inc()
    server = serve_metrics(0, registry, {"/health/live": lambda: True})
    yield server.server_port
    server.shutdown()
    server.server_close()


def sent(port: int, head: bytes, source: str = "127.0.0.1") -> socket.socket:
    caller = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S, source_address=(source, 0))
    caller.sendall(head)
    return caller


def answer_to(caller: socket.socket) -> bytes:
    """All that it is sent until the connection ends."""
    got = b""
    try:
        while part := caller.recv(65536):
            got += part
    except ConnectionError:
        pass
    return got


GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


def test_slow_callers_keep_no_probe_waiting_and_one_address_has_so_many_connections(port: int) -> None:
    with ExitStack() as stack:
        for _ in range(MOST_OF_ONE_ADDRESS):
            stack.enter_context(sent(port, b"GET /health"))
        with sent(port, GET) as one_more:
            assert answer_to(one_more) == b"", "closed at once"
        with sent(port, GET, source="127.0.0.2") as probe:
            assert b" 200 OK\r\n" in answer_to(probe)


def test_a_caller_that_sends_byte_by_byte_is_cut_off(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_port, "CALL_S", 0.05)
    with sent(port, b"GET /health/live HTTP/1.1\r\nX: ") as slow:
        slow.settimeout(0.01)
        for _ in range(1000):
            try:
                slow.sendall(b"a")
                if slow.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("it may go on for ever")


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        b"CANARY / HTTP/1.1\r\n\r\n",
        b"GET / CANARY HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: CANARY\r\n" * 200 + b"\r\n",
        b"GET /" + b"CANARY" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
    ids=["body", "method", "version", "headers", "long", "tls"],
)
def test_what_is_no_call_of_a_scraper_is_refused_without_an_echo(
    port: int, head: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with sent(port, head) as caller:
        answer = answer_to(caller)
    assert b" 200 OK" not in answer
    assert b"CANARY" not in answer
    assert b"Python" not in answer
    assert "".join(capfd.readouterr()) == ""
