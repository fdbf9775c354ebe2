"""Builds the OpenAPI document. Examples as written, one problem schema, a list of all error codes."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from app.api.docs.error_responses import SCHEMA, SCHEMA_NAME
from app.api.http.problems import KINDS

REQUEST_ID = {
    "description": "names this answer in our logs",
    "schema": {"type": "string"},
    "example": "req_01kaq4nbt5y3u1i9o7p5a3s1df",
}


def error_codes() -> str:
    """Returns a Markdown table of all error codes."""
    rows = [
        f"| `{code}` | {kind.status} | {kind.title} | {'yes' if kind.retryable else 'no'} |"
        for code, kind in sorted(KINDS.items())
    ]
    head = "| code | status | meaning | may the same call succeed later? |\n|---|---|---|---|"
    return "\n".join(["## Errors", "", "Each is `application/problem+json` (RFC 9457).", "", head, *rows])


class DocumentedApp(FastAPI):
    """FastAPI that keeps nulls in the document's examples, which FastAPI itself removes."""

    documented: Sequence[APIRouter] = ()
    """The documented routers, with examples; their paths are the document's."""

    def build_middleware_stack(self) -> Any:
        """The middlewares from our first one on. Crashes, traces and bounds of bodies are ours, not the framework's."""
        stack: Any = super().build_middleware_stack()
        ours: Any = self.user_middleware[0].cls
        while not isinstance(stack, ours):
            stack = stack.app
        return stack

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            document = super().openapi()
            schemas = document["components"]["schemas"]
            schemas[SCHEMA_NAME] = dict(SCHEMA)
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            for router in self.documented:
                for route in router.routes:
                    if isinstance(route, APIRoute):
                        _complete(route, document["paths"][route.path_format])
        return super().openapi()


def _complete(route: APIRoute, operations: dict[str, Any]) -> None:
    for method in route.methods or ():
        responses = operations[method.lower()]["responses"]
        if 422 not in route.responses:
            responses.pop("422", None)  # FastAPI's own error schema, which is never sent: see problems
        for status, described in route.responses.items():
            for media_type, content in described.get("content", {}).items():
                if "example" in content:
                    responses[str(status)]["content"][media_type]["example"] = content["example"]
        for response in responses.values():
            response.setdefault("headers", {})["X-Request-Id"] = REQUEST_ID
