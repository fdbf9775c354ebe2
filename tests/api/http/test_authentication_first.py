"""app/api/http/requests.py: without a key a request is not read, and nothing is said of what is wrong with it."""

import re
from typing import Any

import httpx
import pytest

from app.api.http.requests import MAX_BODY_BYTES
from tests.api.service import Json, Service, assert_problem, open_service, payment

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}
CARD = "4242424242424242"
BODIES: dict[str, tuple[bytes, dict[str, str]]] = {
    "broken": (b"{", JSON),
    "too large": (b" " * (MAX_BODY_BYTES + 1), JSON),
    "another type": (b"a=b", {"Content-Type": "text/plain"}),
    "without a type": (b"{}", {}),
    "a card number": (f'{{"reference": "{CARD}"}}'.encode(), JSON),
    "nothing": (b"", {}),
}


def operations(document: Json) -> list[tuple[str, str, str]]:
    """Method, path and kind of key of everything that asks for one."""
    return [
        (method.upper(), re.sub(r"\{\w+\}", "ps_1", path), next(iter(operation["security"][0])))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if operation.get("security")
    ]


async def sent(service: Service, method: str, path: str, headers: Any, body: bytes) -> httpx.Response:
    return await service.clients[0].request(method, path, content=body, headers=headers)


async def test_without_a_key_everything_is_401_whatever_else_is_wrong(database_url: str) -> None:
    tried = 0
    async with open_service(database_url) as service:
        foreign = {"terminal_key": service.all_ops.api_key, "operations_key": service.one.terminal.api_key}
        for method, path, kind in operations(service.apps[0].openapi()):
            for key in ("", "Bearer guess", f"Bearer {foreign[kind]}", "Basic YTpi"):
                for name, (body, more) in BODIES.items():
                    headers = more | ({"Authorization": key} if key else {})
                    answer = await sent(service, method, f"{path}?x={CARD}&limit=none", headers, body)
                    assert answer.status_code == 401, f"{method} {path} {name} {key[:6]}: {answer.text}"
                    assert answer.json()["code"] == "unauthorized"
                    tried += 1
    assert tried > 300


async def test_a_body_that_is_not_authenticated_is_not_read(database_url: str) -> None:
    read: list[int] = []

    async def endless() -> Any:
        while True:
            read.append(1)
            yield b" " * 1000

    async with open_service(database_url) as service:
        answer = await service.clients[0].post("/v1/payment-sessions", content=endless(), headers=JSON)
    assert_problem(answer, 401, "unauthorized")
    assert len(read) <= 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"charge_point_id":"101","charge_point_id":"102","authorization":{"reference":"A","amount":1000,"currency":"EUR"}}',
        b'{"charge_point_id":"101","authorization":{"reference":"A","amount":9999,"amount":1000,"currency":"EUR"}}',
        b'{"charge_point_id":"101","authorization":{"reference":"A","am\\u006funt":9999,"amount":1000,"currency":"EUR"}}',
    ],
)
async def test_a_name_that_is_there_twice_is_refused_at_any_level_and_spelling(
    database_url: str, body: bytes
) -> None:
    async with open_service(database_url) as service:
        key = {"Authorization": f"Bearer {service.one.terminal.api_key}"}
        answer = await service.clients[0].post("/v1/payment-sessions", content=body, headers=JSON | key)
        assert_problem(answer, 400, "invalid_body")
        assert "twice" in answer.json()["detail"]
        assert await service.count() == 0
        colons = payment(metadata={"a": '"b":1,"b":2', "b": ":"}, authorization={"reference": "A:1:1"})
        assert (await service.call("POST", "/v1/payment-sessions", colons)).status_code == 201
