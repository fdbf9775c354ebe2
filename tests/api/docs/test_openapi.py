"""The OpenAPI document: valid, with an example everywhere, and true of what the service does."""

import ast
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from app.api.docs.examples import AUTHORIZE
from app.api.http.problems import ANSWERS, KINDS
from app.flows.terminal.authorize import AuthorizeRefused
from app.flows.terminal.top_up import TopUpRefused
from app.main import create_app
from app.store.db.database import Database
from tests.api.service import Json, documented, make_context
from tests.postgres import ROOT
from tests.virtual_clock import VirtualClock

METHODS = ("get", "post", "put", "patch", "delete")
NOWHERE = "postgresql://nobody@localhost:1/none"
ENDPOINTS = {
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


OPERATION_IDS = {
    *("createPaymentSession", "findPaymentSessions", "getPaymentSession", "stopPaymentSession"),
    *("reportCapture", "stopByCard", "listChargePoints", "getChargePoint", "addAuthorization"),
    *("receiveMontaWebhook", "getLiveness", "getReadiness", "getMetrics"),
    *("opsListPaymentSessions", "opsGetPaymentSession", "opsGetJournal", "opsListCaptures"),
    *("opsStopPaymentSession", "opsSettlePaymentSession", "opsGetSummary", "opsAcknowledgeAttention"),
    *("opsListOrphanCharges", "opsCloseOrphanCharge"),
}


@pytest.fixture(scope="module")
def document() -> Json:
    return create_app(make_context(Database(NOWHERE), VirtualClock())).openapi()


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


def test_it_is_valid_openapi_3_1_and_has_every_endpoint_of_the_contract(document: Json) -> None:
    assert document["openapi"].startswith("3.1")
    validate(document, cls=OpenAPIV31SpecValidator)
    assert {name for name, _ in operations(document)} >= ENDPOINTS


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
        if path.startswith("/v1/ops") or path == "/metrics":
            assert operation["security"] == [{"operations_key": []}], name
        elif path.startswith("/v1") and "webhooks" not in path:
            assert operation["security"] == [{"terminal_key": []}], name
        else:
            assert "security" not in operation, name


def test_F117_every_code_is_in_the_enum_and_documented_where_it_can_occur(document: Json) -> None:
    assert document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"] == sorted(KINDS)
    everywhere = set().union(*documented(document).values())
    assert set(KINDS) - everywhere == {"method_not_allowed"}, "of no operation, hence in the list of all only"
    assert all(f"| `{code}` |" in document["info"]["description"] for code in KINDS)
    creates = documented(document)["POST", "/v1/payment-sessions"]
    assert creates >= {ANSWERS[kind].code for kind in AuthorizeRefused.__subclasses__()}
    tops_up = documented(document)["POST", "/v1/payment-sessions/{id}/authorizations"]
    assert tops_up >= {ANSWERS[kind].code for kind in TopUpRefused.__subclasses__()}


def test_F117_every_code_that_is_raised_anywhere_is_known() -> None:
    raised = set()
    for path in (ROOT / "app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem":
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    raised.add(first.value)
    raised |= {answer.code for answer in ANSWERS.values()}
    by_status = {"method_not_allowed", "internal_error", "invalid_body", "not_found"}
    assert raised | by_status == set(KINDS)


def test_F117_every_error_has_an_example_that_is_a_problem_with_its_code(document: Json) -> None:
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            for content in response.get("content", {}).values():
                codes = (
                    content["schema"]["allOf"][1]["properties"]["code"]["enum"]
                    if status[0] in "45" and ("ready" not in name)
                    else []
                )
                assert sorted(content.get("examples", {})) == codes, f"{name} {status}"
                for code in codes:
                    example = content["examples"][code]["value"]
                    assert (example["code"], str(example["status"])) == (code, status)


def test_F117_operations_parameters_and_headers_are_described(document: Json) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(names)) == len(names)
    for name, operation in operations(document):
        assert re.fullmatch("[a-z]+([A-Z][a-z]+)+", operation["operationId"]), name
        for parameter in operation.get("parameters", []):
            assert parameter["schema"].get("examples"), f"{name}: no example of {parameter['name']}"
        for status, response in operation["responses"].items():
            assert "X-Request-Id" in response["headers"], f"{name} {status}"
            if status == "503" and "ready" not in name:
                assert "Retry-After" in response["headers"], name
    answers = document["paths"]["/v1/payment-sessions"]["post"]["responses"]
    assert "Location" in answers["201"]["headers"]
    assert {"Location", "Idempotency-Replayed"} <= set(answers["200"]["headers"])
    more = document["paths"]["/v1/payment-sessions/{id}/authorizations"]["post"]["responses"]
    assert "Idempotency-Replayed" in more["200"]["headers"]


def test_F117_operation_ids_stay(document: Json) -> None:
    """Clients are generated from them: a name that was given is never changed."""
    assert {operation["operationId"] for _, operation in operations(document)} >= OPERATION_IDS
