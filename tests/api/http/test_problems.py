"""Every error has the shape of the contract, also those that no code of ours raises, and with the database gone."""

import asyncio
import gc
from dataclasses import replace

import asyncpg
import httpx
import pytest

from app.main import create_app
from app.store.db.database import Database
from app.store.db.secret_box import SecretBox
from app.store.operators.operators import Operators
from tests.api.service import assert_problem, make_context, open_service, payment, sign
from tests.postgres import as_superuser
from tests.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

NOWHERE = "postgresql://u:canary-password@localhost:1/db"


async def test_an_unknown_address_or_method_is_a_problem(database_url: str) -> None:
    async with open_service(database_url) as service:
        for path in (
            "/",
            "/v1",
            "/v1/nothing",
            "/v1/payment-sessions/a/b/c",
            "/nothing",
            "/v2/payment-sessions",
        ):
            assert_problem(await service.call("GET", path), 404, "not_found")
        for method, path, allowed in (
            ("DELETE", "/v1/payment-sessions", "GET, POST"),
            ("PUT", "/v1/payment-sessions/ps_1", "GET"),
            ("GET", "/v1/payment-sessions/ps_1/stop", "POST"),
            ("GET", "/v1/stop-requests", "POST"),
            ("POST", "/health/live", "GET"),
            ("PATCH", "/metrics", "GET"),
        ):
            answer = await service.call(method, path)
            assert_problem(answer, 405, "method_not_allowed")
            assert answer.headers["allow"] == allowed


async def test_an_address_that_cannot_be_one_of_ours_is_not_found(database_url: str) -> None:
    async with open_service(database_url) as service:
        for name in ("x" * 65, "%00", "%C3%A9", "%F0%9F%98%80", "%FF"):
            for path in (f"/v1/payment-sessions/{name}", f"/v1/charge-points/{name}"):
                assert_problem(await service.call("GET", path), 404, "not_found")
            ops = await service.call("GET", f"/v1/ops/payment-sessions/{name}", key=service.all_ops.api_key)
            assert_problem(ops, 404, "not_found")


async def test_each_answer_has_a_request_id_of_its_own(database_url: str) -> None:
    async with open_service(database_url) as service:
        await service.authorize()
        answers = [await service.call("GET", "/v1/payment-sessions?reference=A-1") for _ in range(3)]
        ids = {a.headers["x-request-id"] for a in answers}
    assert len(ids) == 3
    assert all(i.startswith("req_") for i in ids)


async def test_with_the_database_gone_everything_says_so_and_when_to_ask_again() -> None:  # F83
    database = Database(NOWHERE)
    app = create_app(make_context(database, VirtualClock()))
    key = {"Authorization": "Bearer tw_terminal_x"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://tapwatt.test") as http:
        for method, path in (
            ("POST", "/v1/payment-sessions"),
            ("GET", "/v1/payment-sessions?reference=A-1"),
            ("GET", "/v1/payment-sessions/ps_1?wait=30"),
            ("POST", "/v1/payment-sessions/ps_1/stop"),
            ("POST", "/v1/webhooks/monta/wh_1"),
            ("GET", "/v1/charge-points"),
            ("GET", "/v1/ops/payment-sessions"),
            ("GET", "/v1/ops/summary"),
            ("GET", "/metrics"),
        ):
            body = payment() if method == "POST" else None
            answer = await http.request(method, path, json=body, headers=key)
            problem = assert_problem(answer, 503, "unavailable")
            assert problem["retryable"]
            assert int(answer.headers["retry-after"]) >= 1
            assert "canary" not in answer.text
        ready = await http.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "not_ready")
        assert ready.json()["checks"]["database"].startswith("cannot be reached")
        assert "canary" not in ready.text
        assert (await http.get("/health/live")).json() == {"status": "ok"}
    await database.close()


async def test_a_service_whose_connections_are_cut_recovers_by_itself(database_url: str) -> None:  # F6
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tapwatt'"
    async with open_service(database_url) as service:
        admin = await asyncpg.connect(as_superuser(database_url))
        try:
            recorded = set()
            for n in range(12):
                body = payment(f"10{n % 9 + 1}", f"A-{n}")
                calls = [
                    asyncio.create_task(service.call("POST", "/v1/payment-sessions", body)) for _ in range(2)
                ]
                await asyncio.sleep(0.002 * n)
                await admin.execute(cut)
                for answer in await asyncio.gather(*calls):
                    assert answer.status_code in (200, 201, 503), answer.text
                    if answer.status_code == 503:
                        assert_problem(answer, 503, "unavailable")
                again = await service.call("POST", "/v1/payment-sessions", body)
                assert again.status_code in (200, 201), again.text
                recorded.add(again.json()["id"])
                await service.settle(again.json()["id"], 0)
            assert len(recorded) == await service.count() == 12
        finally:
            await admin.close()
    for _ in range(3):
        gc.collect()


async def test_a_crash_of_ours_is_a_problem_too_and_reveals_nothing(database_url: str) -> None:
    async with open_service(database_url) as service:

        async def crash() -> None:
            raise RuntimeError("canary")

        service.apps[0].add_api_route("/crash", crash)
        answer = await service.call("GET", "/crash")
        problem = assert_problem(answer, 500, "internal_error")
        assert problem["retryable"]
    assert "canary" not in answer.text


async def test_a_wrong_secret_key_fails_closed(database_url: str) -> None:  # F90
    async with open_service(database_url) as service:
        one = service.one
        stranger = replace(
            service.context, operators=Operators(SecretBox("another key, as long as it has to be"))
        )
        app = create_app(stranger)
        body = b'{"entries": []}'
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as http:
            headers = {"X-Monta-Signature": sign(one.operator.webhook_secret, body)}
            answer = await http.post(one.operator.webhook_path, content=body, headers=headers)
            assert_problem(answer, 503, "unavailable")
            assert one.operator.webhook_secret not in answer.text
