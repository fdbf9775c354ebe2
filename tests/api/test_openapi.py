"""The OpenAPI document: valid, with an example everywhere, and true of what the service does."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
import schemathesis
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.api.examples import AUTHORIZE
from app.main import create_app
from app.store import health
from app.store.database import Database
from tests.api.house import Json, make_tools, open_house
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
    """The service in a loop of its own, for a tester that knows no loops; a key for each kind of door."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def open(self) -> None:
        self._stack = AsyncExitStack()
        house = await self._stack.enter_async_context(open_house(self._url))
        self._http = house.doors[0]
        async with house.tools.database.transaction() as connection:
            await health.beat(connection, "wtc_1", house.tools.clock.now())
        self.keys = {"terminal_key": house.one.terminal.api_key, "operations_key": house.all_ops.api_key}

    async def close(self) -> None:
        await self._stack.aclose()

    async def send(self, method: str, url: str, more: Json) -> httpx.Response:
        return await self._http.request(method, url, **more)


@pytest.fixture
def lent(database_url: str) -> Iterator[tuple[Lent, BlockingPortal]]:
    service = Lent(database_url)
    with start_blocking_portal() as portal:
        portal.call(service.open)
        yield service, portal
        portal.call(service.close)


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]


def test_whatever_the_document_allows_is_answered_as_the_document_says(
    document: Json, lent: tuple[Lent, BlockingPortal]
) -> None:
    service, portal = lent
    schema = schemathesis.openapi.from_dict(document)
    tried = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        security = operation.definition.raw.get("security", [])
        tried += try_out(
            operation, service, portal, service.keys[next(iter(security[0]))] if security else ""
        )
    assert tried >= 100


def try_out(operation: Any, service: Lent, portal: BlockingPortal, key: str) -> int:
    """Ten calls that the document allows, each answer held against it."""
    tried = 0

    @settings(
        max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
    )
    @given(operation.as_strategy())
    def holds(case: Any) -> None:
        nonlocal tried
        tried += 1
        request = case.as_transport_kwargs(base_url="http://tapwatt.test")
        own = {k: v for k, v in request["headers"].items() if k.lower() not in ("authorization", "prefer")}
        own |= {"Authorization": f"Bearer {key}"} if key else {}
        more = {name: request[name] for name in ("params", "json") if request.get(name) is not None}
        if request.get("data") is not None:
            more["content"] = request["data"]
        more["headers"] = {k: v.encode("latin-1", "replace") for k, v in own.items()}
        answer = portal.call(service.send, request["method"], request["url"], more)
        case.validate_response(answer, checks=CHECKS)

    holds()
    return tried
