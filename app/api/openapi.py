"""The OpenAPI document with its examples as they were written."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute


class DocumentedApp(FastAPI):
    """FastAPI leaves every null out of the document, also those in examples: here they are put back."""

    documented: Sequence[APIRouter] = ()
    """The routers whose examples are meant; their paths are the document's."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            paths = super().openapi()["paths"]
            for router in self.documented:
                for route in router.routes:
                    if isinstance(route, APIRoute):
                        _restore_examples(route, paths[route.path_format])
        return super().openapi()


def _restore_examples(route: APIRoute, operations: dict[str, Any]) -> None:
    for method in route.methods or ():
        responses = operations[method.lower()]["responses"]
        for status, described in route.responses.items():
            for media_type, content in described.get("content", {}).items():
                responses[str(status)]["content"][media_type]["example"] = content["example"]
