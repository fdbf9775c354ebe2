"""The OpenAPI document: valid, with an example everywhere, and true of what the service does."""

from collections.abc import Iterator
from typing import Any

import anyio.from_thread
import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, settings
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from app.api.examples import AUTHORIZE
from app.main import create_app
from app.store.database import Database
from tests.api.house import Json, make_tools
from tests.virtual import VirtualClock

METHODS = ("get", "post", "put", "patch", "delete")
NOWHERE = "postgresql://nobody@localhost:1/none"
DOORS = {
    "post /v1/payment-sessions",
    "get /v1/payment-sessions",
    "get /v1/payment-sessions/{id}",
    "post /v1/payment-sessions/{id}/stop",
    "post /v1/payment-sessions/{id}/captures",
    "post /v1/stop-requests",
    "get /v1/charge-points",
    "get /v1/charge-points/{id}",
    "post /v1/webhooks/monta/{endpoint_id}",
    "get /v1/ops/payment-sessions",
    "get /v1/ops/payment-sessions/{id}",
    "get /v1/ops/payment-sessions/{id}/journal",
    "post /v1/ops/payment-sessions/{id}/stop",
    "get /v1/ops/summary",
    "get /health/live",
    "get /health/ready",
    "get /metrics",
}


@pytest.fixture(scope="module")
def document() -> Json:
    return create_app(make_tools(Database(NOWHERE), VirtualClock())).openapi()


def operations(document: Json) -> Iterator[tuple[str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method in METHODS:
                yield f"{method} {path}", operation


def examples_of(content: Json) -> list[Any]:
    found = [content["example"]] if "example" in content else []
    return found + [e["value"] for e in content.get("examples", {}).values()]


def resolved(document: Json, schema: Json) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": document["components"]})


def test_it_is_valid_openapi_3_1_and_has_every_door_of_the_contract(document: Json) -> None:
    assert document["openapi"].startswith("3.1")
    validate(document, cls=OpenAPIV31SpecValidator)
    assert {name for name, _ in operations(document)} >= DOORS


def test_every_operation_has_examples_that_fit_their_schemas(document: Json) -> None:
    for name, operation in operations(document):
        body = operation.get("requestBody", {}).get("content", {})
        for media_type, content in body.items():
            assert examples_of(content), f"{name}: no example of its body ({media_type})"
            for example in examples_of(content):
                resolved(document, content["schema"]).validate(example)
        succeeded = [status for status in operation["responses"] if status.startswith("2")]
        assert succeeded, name
        for status, response in operation["responses"].items():
            assert response["description"], f"{name} {status}"
            for content in response.get("content", {}).values():
                assert examples_of(content), f"{name}: no example of {status}"
                for example in examples_of(content):
                    resolved(document, content.get("schema", {})).validate(example)


def test_every_error_is_described_as_problem_details(document: Json) -> None:
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            if status[0] in "45" and not name.endswith("/health/ready"):
                assert list(response["content"]) == ["application/problem+json"], f"{name} {status}"
    assert set(AUTHORIZE) >= {200, 201, 400, 401, 404, 409, 413, 415, 422, 503}


def test_every_operation_says_who_may_call_it(document: Json) -> None:
    for name, operation in operations(document):
        path = name.split(" ")[1]
        if path.startswith("/v1/ops"):
            assert operation["security"] == [{"operations_key": []}], name
        elif path.startswith("/v1") and "webhooks" not in path:
            assert operation["security"] == [{"terminal_key": []}], name
        else:
            assert "security" not in operation, name


class Lent:
    """An application in a loop of its own, for a tester that knows no loops."""

    def __init__(self, url: str, portal: anyio.from_thread.BlockingPortal) -> None:
        self.portal = portal
        self.app: FastAPI
        self.headers: dict[str, dict[str, str]] = {}
        self.url = url

    async def furnish(self) -> None:
        from tests.api.house import House

        database = Database(self.url)
        tools = make_tools(database, VirtualClock())
        self.app = create_app(tools)
        house = House([self.app], [tools], [])
        await house.furnish()
        self.keys = {"terminal": house.one.terminal.api_key, "operations": house.all_ops.api_key}
        self.database = database

    async def send(self, request: httpx.Request) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://t") as http:
            return await http.send(request)
