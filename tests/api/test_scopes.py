"""app/api/http/auth: Everybody sees their own: each endpoint is tried with everybody else's key (F11, F46, F80)."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text

from tests.api.service import Service, assert_problem, open_service, payment

pytestmark = pytest.mark.anyio

Endpoint = tuple[str, str, dict[str, Any] | None]

TERMINAL_ENDPOINTS: list[Endpoint] = [
    ("GET", "/v1/payment-sessions/{id}", None),
    ("GET", "/v1/payment-sessions/{id}?wait=30&version=99", None),
    ("POST", "/v1/payment-sessions/{id}/stop", None),
    ("POST", "/v1/payment-sessions/{id}/captures", {"outcome": "captured", "amount": 1234, "reference": "r"}),
]
OPS_ENDPOINTS: list[Endpoint] = [
    ("GET", "/v1/ops/payment-sessions/{id}", None),
    ("GET", "/v1/ops/payment-sessions/{id}/journal", None),
    ("GET", "/v1/ops/payment-sessions/{id}/captures", None),
    ("POST", "/v1/ops/payment-sessions/{id}/stop", {"reason": "test"}),
]
LISTS = ["/v1/charge-points", "/v1/payment-sessions?reference=A-1"]
OPS_LISTS = ["/v1/ops/payment-sessions", "/v1/ops/summary"]


async def test_nobody_sees_or_touches_another_terminals_or_operators_session(database_url: str) -> None:
    async with open_service(database_url) as service:
        sibling = await service.add_terminal(service.one.operator.operator_id)
        session = await service.authorize()
        await service.settle(session["id"], 1234)
        before = (await service.call("GET", f"/v1/payment-sessions/{session['id']}")).json()
        strangers = [
            (TERMINAL_ENDPOINTS, sibling.api_key),
            (TERMINAL_ENDPOINTS, service.other.terminal.api_key),
        ]
        strangers.append((OPS_ENDPOINTS, service.other.ops.api_key))
        for endpoints, key in strangers:
            for method, path, body in endpoints:
                answer = await service.call(method, path.format(id=session["id"]), body, key=key)
                assert_problem(answer, 404, "not_found")
                assert session["id"] not in answer.text
        assert (await service.call("GET", f"/v1/payment-sessions/{session['id']}")).json() == before
        for endpoints, key in (
            (TERMINAL_ENDPOINTS, service.one.terminal.api_key),
            (OPS_ENDPOINTS, service.one.ops.api_key),
        ):
            for method, path, body in endpoints:
                at_once = path.replace("?wait=30&version=99", "").format(id=session["id"])
                answer = await service.call(method, at_once, body, key=key)
                assert answer.status_code in (200, 202), answer.text


async def test_a_key_opens_its_own_kind_of_endpoint_only(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
        bad = [
            "",
            "x",
            "é",
            service.one.terminal.api_key + "x",
            service.one.terminal.api_key[:-1],
            "a" * 5000,
        ]
        terminal_endpoints: list[Endpoint] = [
            *[(m, p.format(id=session["id"]), b) for m, p, b in TERMINAL_ENDPOINTS],
            ("POST", "/v1/payment-sessions", payment("102", "A-2")),
            ("POST", "/v1/stop-requests", {"card_fingerprint": "c"}),
            ("GET", "/v1/charge-points/101", None),
            *[("GET", path, None) for path in LISTS],
        ]
        ops_endpoints: list[Endpoint] = [
            *[(m, p.format(id=session["id"]), b) for m, p, b in OPS_ENDPOINTS],
            *[("GET", path, None) for path in OPS_LISTS],
        ]
        keys_by_kind = [
            (terminal_endpoints, [*bad, service.one.ops.api_key, service.all_ops.api_key]),
            (ops_endpoints, [*bad, service.one.terminal.api_key]),
        ]
        for endpoints, keys in keys_by_kind:
            for method, path, body in endpoints:
                for key in keys:
                    answer = await _with(service, method, path, body, key)
                    assert_problem(answer, 401, "unauthorized")
                    assert answer.headers["www-authenticate"] == "Bearer"
        assert await service.count() == 1


async def _with(service: Service, method: str, path: str, body: Any, key: str) -> httpx.Response:
    headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
    return await service.clients[0].request(method, path, json=body, headers=headers)


async def test_another_scheme_or_a_revoked_key_opens_nothing(database_url: str) -> None:  # F11
    async with open_service(database_url) as service:
        key = service.one.terminal.api_key
        for value in (f"Basic {key}", key, "Bearer", f"Bearer  {key}x", f"bearer{key}"):
            answer = await service.clients[0].get("/v1/charge-points", headers={"Authorization": value})
            assert_problem(answer, 401, "unauthorized")
        lower = await service.clients[0].get("/v1/charge-points", headers={"Authorization": f"bearer {key}"})
        assert lower.status_code == 200
        async with service.context.database.transaction() as connection:
            await connection.execute(text("UPDATE terminals SET revoked_at = now()"))
            await connection.execute(text("UPDATE ops_keys SET revoked_at = now()"))
        assert_problem(await service.call("GET", "/v1/charge-points"), 401, "unauthorized")
        ops = await service.call("GET", "/v1/ops/summary", key=service.all_ops.api_key)
        assert_problem(ops, 401, "unauthorized")


async def test_the_same_reference_and_key_at_two_terminals_are_two_payments(database_url: str) -> None:
    async with open_service(database_url) as service:
        headers = {"Idempotency-Key": "k"}
        mine = await service.call("POST", "/v1/payment-sessions", payment(), headers=headers)
        theirs = await service.call(
            "POST", "/v1/payment-sessions", payment(), headers=headers, key=service.other.terminal.api_key
        )
        assert (mine.status_code, theirs.status_code) == (201, 201)
        assert mine.json()["id"] != theirs.json()["id"]


async def test_lists_and_sums_hold_only_what_the_key_may_see(database_url: str) -> None:
    async with open_service(database_url) as service:
        mine = await service.authorize()
        theirs = (
            await service.call("POST", "/v1/payment-sessions", payment(), key=service.other.terminal.api_key)
        ).json()
        for key, ids, operators in (
            (service.one.ops.api_key, [mine["id"]], ["one"]),
            (service.other.ops.api_key, [theirs["id"]], ["other"]),
            (service.all_ops.api_key, sorted([mine["id"], theirs["id"]]), ["one", "other"]),
        ):
            listed = (await service.call("GET", "/v1/ops/payment-sessions", key=key)).json()
            assert sorted(s["id"] for s in listed["data"]) == ids
            found = (await service.call("GET", "/v1/ops/payment-sessions?reference=A-1", key=key)).json()
            assert sorted(s["id"] for s in found["data"]) == ids
            summary = (await service.call("GET", "/v1/ops/summary", key=key)).json()
            assert sorted(o["name"] for o in summary["operators"]) == operators
            assert summary["sessions"]["authorized"] == len(ids)
