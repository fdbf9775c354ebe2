"""Everybody sees their own: each door is tried with everybody else's key (F11, F46, F80)."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text

from tests.api.house import House, assert_problem, open_house, payment

pytestmark = pytest.mark.anyio

Door = tuple[str, str, dict[str, Any] | None]

TERMINAL_DOORS: list[Door] = [
    ("GET", "/v1/payment-sessions/{id}", None),
    ("GET", "/v1/payment-sessions/{id}?wait=30&version=99", None),
    ("POST", "/v1/payment-sessions/{id}/stop", None),
    ("POST", "/v1/payment-sessions/{id}/captures", {"outcome": "captured", "amount": 1234, "reference": "r"}),
]
OPS_DOORS: list[Door] = [
    ("GET", "/v1/ops/payment-sessions/{id}", None),
    ("GET", "/v1/ops/payment-sessions/{id}/journal", None),
    ("GET", "/v1/ops/payment-sessions/{id}/captures", None),
    ("POST", "/v1/ops/payment-sessions/{id}/stop", {"reason": "test"}),
]
LISTS = ["/v1/charge-points", "/v1/payment-sessions?reference=A-1"]
OPS_LISTS = ["/v1/ops/payment-sessions", "/v1/ops/summary"]


async def test_nobody_sees_or_touches_another_terminals_or_operators_session(database_url: str) -> None:
    async with open_house(database_url) as house:
        sibling = await house.add_terminal(house.one.operator.operator_id)
        session = await house.authorize()
        await house.settle(session["id"], 1234)
        before = (await house.call("GET", f"/v1/payment-sessions/{session['id']}")).json()
        strangers = [(TERMINAL_DOORS, sibling.api_key), (TERMINAL_DOORS, house.other.terminal.api_key)]
        strangers.append((OPS_DOORS, house.other.ops.api_key))
        for doors, key in strangers:
            for method, path, body in doors:
                answer = await house.call(method, path.format(id=session["id"]), body, key=key)
                assert_problem(answer, 404, "not_found")
                assert session["id"] not in answer.text
        assert (await house.call("GET", f"/v1/payment-sessions/{session['id']}")).json() == before
        for doors, key in ((TERMINAL_DOORS, house.one.terminal.api_key), (OPS_DOORS, house.one.ops.api_key)):
            for method, path, body in doors:
                at_once = path.replace("?wait=30&version=99", "").format(id=session["id"])
                answer = await house.call(method, at_once, body, key=key)
                assert answer.status_code in (200, 202), answer.text


async def test_a_key_opens_its_own_kind_of_door_only(database_url: str) -> None:
    async with open_house(database_url) as house:
        session = await house.authorize()
        bad = ["", "x", "é", house.one.terminal.api_key + "x", house.one.terminal.api_key[:-1], "a" * 5000]
        terminal_doors: list[Door] = [
            *[(m, p.format(id=session["id"]), b) for m, p, b in TERMINAL_DOORS],
            ("POST", "/v1/payment-sessions", payment("102", "A-2")),
            ("POST", "/v1/stop-requests", {"card_fingerprint": "c"}),
            ("GET", "/v1/charge-points/101", None),
            *[("GET", path, None) for path in LISTS],
        ]
        ops_doors: list[Door] = [
            *[(m, p.format(id=session["id"]), b) for m, p, b in OPS_DOORS],
            *[("GET", path, None) for path in OPS_LISTS],
        ]
        keys_by_door = [
            (terminal_doors, [*bad, house.one.ops.api_key, house.all_ops.api_key]),
            (ops_doors, [*bad, house.one.terminal.api_key]),
        ]
        for doors, keys in keys_by_door:
            for method, path, body in doors:
                for key in keys:
                    answer = await _with(house, method, path, body, key)
                    assert_problem(answer, 401, "unauthorized")
                    assert answer.headers["www-authenticate"] == "Bearer"
        assert await house.count() == 1


async def _with(house: House, method: str, path: str, body: Any, key: str) -> httpx.Response:
    headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
    return await house.doors[0].request(method, path, json=body, headers=headers)


async def test_another_scheme_or_a_revoked_key_opens_nothing(database_url: str) -> None:  # F11
    async with open_house(database_url) as house:
        key = house.one.terminal.api_key
        for value in (f"Basic {key}", key, "Bearer", f"Bearer  {key}x", f"bearer{key}"):
            answer = await house.doors[0].get("/v1/charge-points", headers={"Authorization": value})
            assert_problem(answer, 401, "unauthorized")
        lower = await house.doors[0].get("/v1/charge-points", headers={"Authorization": f"bearer {key}"})
        assert lower.status_code == 200
        async with house.tools.database.transaction() as connection:
            await connection.execute(text("UPDATE terminals SET revoked_at = now()"))
            await connection.execute(text("UPDATE ops_keys SET revoked_at = now()"))
        assert_problem(await house.call("GET", "/v1/charge-points"), 401, "unauthorized")
        ops = await house.call("GET", "/v1/ops/summary", key=house.all_ops.api_key)
        assert_problem(ops, 401, "unauthorized")


async def test_the_same_reference_and_key_at_two_terminals_are_two_payments(database_url: str) -> None:
    async with open_house(database_url) as house:
        headers = {"Idempotency-Key": "k"}
        mine = await house.call("POST", "/v1/payment-sessions", payment(), headers=headers)
        theirs = await house.call(
            "POST", "/v1/payment-sessions", payment(), headers=headers, key=house.other.terminal.api_key
        )
        assert (mine.status_code, theirs.status_code) == (201, 201)
        assert mine.json()["id"] != theirs.json()["id"]


async def test_lists_and_sums_hold_only_what_the_key_may_see(database_url: str) -> None:
    async with open_house(database_url) as house:
        mine = await house.authorize()
        theirs = (
            await house.call("POST", "/v1/payment-sessions", payment(), key=house.other.terminal.api_key)
        ).json()
        for key, ids, operators in (
            (house.one.ops.api_key, [mine["id"]], ["one"]),
            (house.other.ops.api_key, [theirs["id"]], ["other"]),
            (house.all_ops.api_key, sorted([mine["id"], theirs["id"]]), ["one", "other"]),
        ):
            listed = (await house.call("GET", "/v1/ops/payment-sessions", key=key)).json()
            assert sorted(s["id"] for s in listed["data"]) == ids
            found = (await house.call("GET", "/v1/ops/payment-sessions?reference=A-1", key=key)).json()
            assert sorted(s["id"] for s in found["data"]) == ids
            summary = (await house.call("GET", "/v1/ops/summary", key=key)).json()
            assert sorted(o["name"] for o in summary["operators"]) == operators
            assert summary["sessions"]["authorized"] == len(ids)
