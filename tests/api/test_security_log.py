"""app/security_log.py: who tried or did what, by which key, from where, with which result; nothing that was sent."""

import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog
from sqlalchemy import text
from structlog.testing import capture_logs

from app.api.http.rate_limits import Quotas, RateLimits
from app.api.http.server import Server
from app.flows.admin.manage_keys import add_ops_key
from app.security_log import MOST_REFUSED, WINDOW_S
from app.store.operators.keys import Role
from app.telemetry import ProcessTelemetry, configure_logging
from tests.api.service import Json, Service, assert_problem, open_service
from tests.console.browser import opened
from tests.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

GUESSED = "tw_terminal_canary-guess"
ADDRESS = "127.0.0.1"
"""Of httpx's transport."""


def security(lines: list[Any]) -> list[Json]:
    return [line for line in lines if line.get("stream") == "security"]


def counted(service: Service, name: str) -> float:
    assert isinstance(service.context.telemetry, ProcessTelemetry)
    lines = service.context.telemetry.text().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


async def test_refused_keys_are_recorded_with_their_address_up_to_a_bound(database_url: str) -> None:
    async with open_service(database_url) as service:
        clock = service.context.clock
        assert isinstance(clock, VirtualClock)
        with capture_logs() as logged:
            for _ in range(MOST_REFUSED + 7):
                await service.call("GET", "/v1/charge-points", key=GUESSED)
            await clock.advance(WINDOW_S)
            await service.call("POST", "/v1/ops/payment-sessions/ps_1/stop", {}, key=GUESSED)
        lines = security(logged)
        assert len(lines) == MOST_REFUSED + 1
        first, last = lines[0], lines[-1]
        assert first["event"] == "key_refused"
        assert (first["result"], first["address"], first["kind"]) == ("refused", ADDRESS, "terminal")
        assert first["route"] == "GET /v1/charge-points"
        assert last["route"] == "POST /v1/ops/payment-sessions/{id}/stop"
        assert last["left_out"] == "7"
        assert "left_out" not in first
        assert GUESSED not in str(logged)


async def test_each_try_at_a_session_of_others_is_404_counted_and_recorded(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
        neighbour = await service.add_terminal(service.one.operator.operator_id, "110")
        own, ops = f"/v1/payment-sessions/{session['id']}", f"/v1/ops/payment-sessions/{session['id']}"
        report = {"outcome": "captured", "amount": 1, "reference": "p"}
        by_terminals: list[tuple[str, str, Any]] = [
            ("GET", own, None),
            ("POST", f"{own}/stop", None),
            ("POST", f"{own}/captures", report),
            ("POST", f"{own}/authorizations", {"reference": "T", "amount": 100}),
        ]
        by_ops: list[tuple[str, str, Any]] = [
            ("GET", ops, None),
            ("GET", f"{ops}/journal", None),
            ("GET", f"{ops}/captures", None),
            ("GET", f"{ops}/evidence", None),
            ("POST", f"{ops}/stop", {"reason": "r"}),
            ("POST", f"{ops}/settle", {"amount": 1, "reason": "r"}),
            ("POST", f"{ops}/close", {"amount": 1, "reason": "r"}),
            ("POST", f"{ops}/attention/other/acknowledge", {"note": "n"}),
        ]
        keys = [service.other.terminal.api_key, neighbour.api_key]
        tries = [(key, *call) for key in keys for call in by_terminals]
        tries += [(service.other.ops.api_key, *call) for call in by_ops]
        for number, (key, method, path, body) in enumerate(tries, start=1):
            with capture_logs() as logged:
                assert_problem(await service.call(method, path, body, key=key), 404, "not_found")
            (line,) = [line for line in security(logged) if line["event"] == "foreign_access"]
            assert (line["result"], line["session_id"]) == ("refused", session["id"]), path
            assert line["key_id"]
            assert key not in str(logged)
            assert counted(service, "tapwatt_foreign_access_total") == number
        with capture_logs() as logged:
            unknown = "/v1/payment-sessions/ps_" + "0" * 26
            assert_problem(await service.call("GET", unknown, key=keys[0]), 404, "not_found")
            assert (await service.call("GET", own)).status_code == 200
        assert security(logged) == []
        assert (await service.call("GET", own)).json()["version"] == session["version"], "no effect"


async def test_a_signature_that_does_not_fit_is_recorded_with_its_operator(database_url: str) -> None:
    async with open_service(database_url) as service:
        with capture_logs() as logged:
            assert (await service.webhook(b"{}", signature="sha1=canary")).status_code == 401
        (line,) = security(logged)
        assert (line["event"], line["operator_id"]) == ("signature_refused", service.one.operator.operator_id)
        assert line["address"] == ADDRESS
        assert "canary" not in str(logged)


async def test_what_operations_do_is_recorded_with_the_key_and_without_identifiers_in_addresses(
    database_url: str,
) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
        path = f"/v1/ops/payment-sessions/{session['id']}/stop"
        with capture_logs() as logged:
            answer = await service.call("POST", path, {"reason": "canary"}, key=service.all_ops.api_key)
            assert answer.status_code == 202
            listed = await service.call("GET", "/v1/ops/summary", key=service.all_ops.api_key)
            assert listed.status_code == 200
        (line,) = security(logged)
        assert (line["event"], line["result"], line["address"]) == ("key_acts", "allowed", ADDRESS)
        assert line["route"] == "POST /v1/ops/payment-sessions/{id}/stop"
        keys = await ids_of_ops_keys(service)
        assert line["key_id"] in keys
        assert "canary" not in str(line)


async def test_signing_in_and_out_and_what_is_done_at_the_console_are_recorded(database_url: str) -> None:
    async with open_service(database_url) as service, opened(service.apps[0]) as browser:
        session = await service.authorize()
        with capture_logs() as logged:
            await browser.sign_in("tw_ops_canary-guess", 401)
            live = await browser.sign_in(service.one.ops.api_key)
            page = await browser.get(f"/console/sessions/{session['id']}")
            form = page.one("form", action=f"/console/sessions/{session['id']}/stop")
            await browser.send(form, {"reason": "canary"})
            await browser.send(live.one("form", action="/console/sign-out"))
        lines = security(logged)
        assert [(line["event"], line["result"]) for line in lines] == [
            ("signed_in", "refused"),
            ("signed_in", "allowed"),
            ("key_acts", "allowed"),
            ("signed_out", "done"),
        ]
        assert {line["key_id"] for line in lines[1:]} == {service.one.ops.id}
        assert {line["address"] for line in lines} == {ADDRESS}
        assert lines[2]["route"] == "POST /console/sessions/{id}/stop"
        assert "canary" not in str(lines)
        assert service.one.ops.api_key not in str(logged)


async def test_a_key_that_may_not_act_or_calls_too_often_is_recorded(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
        reading = await add_ops_key(service.context, None, role=Role.READ)
        service.apps[0].state.limits = RateLimits(Quotas(calls=4), hold_back_s=0)
        path = f"/v1/ops/payment-sessions/{session['id']}/stop"
        with capture_logs() as logged:
            assert_problem(
                await service.call("POST", path, {"reason": "r"}, key=reading.api_key), 403, "read_only_key"
            )
            answers = [await service.call("GET", "/v1/charge-points") for _ in range(2)]
            assert_problem(answers[-1], 429, "too_many_requests")
        acts, calls = security(logged)
        assert (acts["event"], acts["result"], acts["key_id"]) == ("key_acts", "refused", reading.id)
        assert (calls["event"], calls["result"]) == ("too_many_calls", "refused")
        assert calls["route"] == "GET /v1/charge-points"
        assert calls["who"]


async def ids_of_ops_keys(service: Service) -> set[str]:
    async with service.context.database.transaction() as connection:
        return set((await connection.execute(text("SELECT id FROM api_keys WHERE kind = 'ops'"))).scalars())


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    before, handlers = structlog.get_config(), logging.getLogger().handlers[:]
    yield
    structlog.configure(**before)
    logging.getLogger().handlers[:] = handlers


@pytest.mark.parametrize("as_json", [True, False])
def test_no_control_byte_and_no_line_of_its_own_gets_into_the_logs(
    as_json: bool, capsys: pytest.CaptureFixture[str], logging_as_before: None
) -> None:
    configure_logging(level="info", as_json=as_json)
    hostile = "a\x1b[2Jb\x9bc\x7fd\x00e\r\n2026-01-01 [info] forged\u2028f\u202eg"
    structlog.get_logger("t").warning(hostile, name=hostile, parts=[hostile])
    try:
        raise ValueError(hostile)
    except ValueError:
        structlog.get_logger("t").exception("failed")
    record = logging.LogRecord("lib", logging.ERROR, "f.py", 1, "%s", (hostile,), None)
    for handler in logging.getLogger().handlers:
        handler.handle(record)
    written = capsys.readouterr().err
    assert "failed" in written
    assert not [
        c for c in written if c != "\n" and (ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c in "\u2028\u202e")
    ]
    assert not [line for line in written.splitlines() if line.startswith("2026-01-01")]
    assert "\\x1b[2Jb\\x9bc\\x7fd\\x00e" in written.replace("\\\\", "\\")


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "seen"),
    [
        (None, "127.0.0.1", "203.0.113.7", "127.0.0.1"),
        ("10.0.0.0/8", "10.1.2.3", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.0/8", "192.0.2.1", "203.0.113.7", "192.0.2.1"),
        ("10.0.0.0/8", "10.1.2.3", "198.51.100.1, 203.0.113.7, 10.9.9.9", "203.0.113.7"),
    ],
)
async def test_the_address_is_the_callers_behind_trusted_proxies_only(
    trusted: str | None, peer: str, forwarded: str, seen: str
) -> None:
    found: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.append(scope["client"][0])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    config = Server(app, "127.0.0.1", 0, lambda: None, trusted_proxies=trusted).config
    config.load()
    transport = httpx.ASGITransport(config.loaded_app, client=(peer, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://tapwatt.test") as client:
        await client.get("/", headers={"X-Forwarded-For": forwarded})
    assert found == [seen]
