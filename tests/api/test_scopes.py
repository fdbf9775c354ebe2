"""app/api/http/auth: each endpoint of the application is tried with every key that must not open it (F11, F46, F80)."""

from datetime import timedelta

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.domain.session.payment_session import Status
from app.store.db import scope
from tests.api.endpoints import BODIES, OPERATIONS, SESSION, Endpoint, endpoints, tried
from tests.api.service import (
    LOOK,
    Json,
    Service,
    assert_problem,
    charge_entry,
    delivery,
    open_service,
    payment,
)
from tests.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

OTHER_PATHS = {
    "/v1/payment-sessions",
    "/v1/stop-requests",
    "/v1/charge-points",
    "/v1/events",
    "/v1/charge-points/{id}",
    "/v1/ops/payment-sessions",
    "/v1/ops/summary",
    "/v1/ops/orphans",
    "/v1/ops/orphans/{charge_id}/close",
    "/v1/ops/reconciliation",
    "/v1/ops/availability",
    "/v1/terminal/status",
    "/v1/ops/charges",
}
"""Paths that name no session; what each of them shows to whom has tests of its own."""


def session_endpoints(app: FastAPI, *, of_operations: bool) -> list[Endpoint]:
    """Those that name one session."""
    return [
        (method, path)
        for method, path in endpoints(app)
        if SESSION in path and path.startswith(OPERATIONS) is of_operations
    ]


async def test_every_endpoint_names_a_session_or_is_known_here(database_url: str) -> None:
    async with open_service(database_url) as service:
        found = endpoints(service.apps[0])
    assert {path for _, path in found if SESSION not in path} == OTHER_PATHS
    assert {path for method, path in found if method != "GET"} == set(BODIES)


async def test_a_foreign_key_neither_shows_nor_changes_a_session(kept_apart: str) -> None:
    async with open_service(kept_apart) as service:
        sibling = await service.add_terminal(service.one.operator.operator_id)
        settled, running, held = [await service.authorize(f"10{n}", f"A-{n}") for n in (1, 2, 3)]
        await service.settle(settled["id"], 1234)
        await service.charging(running["id"], "77")
        await service.charging(held["id"], "78")
        await service.change(held["id"], status=Status.FINISHING, attention=LOOK)
        sessions = [settled["id"], running["id"], held["id"]]
        before = [await seen(service, session_id) for session_id in sessions]
        terminals = session_endpoints(service.apps[0], of_operations=False)
        operations = session_endpoints(service.apps[0], of_operations=True)
        for known, key in (
            (terminals, sibling.api_key),
            (terminals, service.other.terminal.api_key),
            (operations, service.other.ops.api_key),
        ):
            for method, path in known:
                for session_id in sessions:
                    answer = await tried(service, method, path, key, session_id)
                    assert_problem(answer, 404, "not_found")
                    assert session_id not in answer.text
        assert [await seen(service, session_id) for session_id in sessions] == before
        for known, key in (
            (terminals, service.one.terminal.api_key),
            (operations, service.one.ops.api_key),
        ):
            for method, path in known:
                answer = await tried(service, method, path, key, held["id"], at_once=True)
                assert answer.status_code in (200, 202, 409), f"{method} {path}: {answer.text}"


async def seen(service: Service, session_id: str) -> tuple[Json, Json]:
    """The session and its journal, as a key that sees every operator is shown them."""
    path, key = f"/v1/ops/payment-sessions/{session_id}", service.all_ops.api_key
    shown = await service.call("GET", path, key=key)
    journal = await service.call("GET", f"{path}/journal", key=key)
    return shown.json(), journal.json()


async def test_a_key_opens_its_own_kind_of_endpoint_only(database_url: str) -> None:
    async with open_service(database_url) as service:
        session = await service.authorize()
        own = service.one.terminal.api_key
        bad = ["", "x", "é", own + "x", own[:-1], "a" * 5000]
        for method, path in endpoints(service.apps[0]):
            of_operations = path.startswith(OPERATIONS)
            wrong = [own] if of_operations else [service.one.ops.api_key, service.all_ops.api_key]
            for key in [*bad, *wrong]:
                answer = await tried(service, method, path, key, session["id"])
                assert_problem(answer, 401, "unauthorized")
                assert answer.headers["www-authenticate"] == "Bearer"
        assert await service.count() == 1


async def test_another_scheme_or_a_revoked_key_opens_nothing(database_url: str) -> None:  # F11
    async with open_service(database_url) as service:
        key = service.one.terminal.api_key
        for value in (f"Basic {key}", key, "Bearer", f"Bearer  {key}x", f"bearer{key}"):
            answer = await service.clients[0].get("/v1/charge-points", headers={"Authorization": value})
            assert_problem(answer, 401, "unauthorized")
        lower = await service.clients[0].get("/v1/charge-points", headers={"Authorization": f"bearer {key}"})
        assert lower.status_code == 200
        async with service.context.database.transaction() as connection:
            await connection.execute(text("UPDATE api_keys SET revoked_at = now()"))
        clock = service.context.clock
        assert isinstance(clock, VirtualClock)
        await clock.advance(1)
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


async def test_lists_and_sums_hold_only_what_the_key_may_see(kept_apart: str) -> None:
    async with open_service(kept_apart) as service:
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


async def test_the_summary_shows_the_oldest_due_time_of_the_keys_own_sessions(kept_apart: str) -> None:
    async with open_service(kept_apart) as service:
        await service.authorize()
        service.context.clock.set(service.context.clock.now() + timedelta(seconds=3))  # type: ignore[attr-defined]
        await service.call("POST", "/v1/payment-sessions", payment(), key=service.other.terminal.api_key)
        found = [
            (await service.call("GET", "/v1/ops/summary", key=tenant.api_key)).json()["oldest_due_at"]
            for tenant in (service.one.ops, service.other.ops, service.all_ops)
        ]
    first, later = "2026-11-22T10:00:00.000Z", "2026-11-22T10:00:03.000Z"
    assert found == [first, later, first]


async def test_what_a_call_reads_and_writes_is_limited_to_its_operators_rows(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What row level security compares, at every transaction of every endpoint. Keys are looked up among all."""
    seen: list[str] = []
    current = scope.current

    def noted() -> str:
        seen.append(current())
        return seen[-1]

    monkeypatch.setattr(scope, "current", noted)
    async with open_service(database_url) as service:
        session = await service.authorize()
        await service.change(session["id"], attention=LOOK)
        answered = []
        for method, path in endpoints(service.apps[0]):
            of_operations = path.startswith(OPERATIONS)
            key = service.one.ops.api_key if of_operations else service.one.terminal.api_key
            at_once = SESSION in path
            await tried(service, method, path, key, session["id"], at_once=at_once)  # has the key looked up
            seen.clear()
            answer = await tried(service, method, path, key, session["id"], at_once=at_once)
            if answer.is_success:
                assert set(seen) == {service.one.operator.operator_id}, f"{method} {path}"
                answered.append(path)
        assert len(answered) > 12, answered
        for number in (1, 2):
            seen.clear()
            assert (await service.webhook(delivery(charge_entry(number)))).status_code == 200
        assert set(seen) == {service.one.operator.operator_id}
