"""All addresses of the service, made from its routes. For tests that send hostile requests to each."""

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from tests.api.service import Json


def operations(document: Json) -> list[tuple[str, str, Json]]:
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "webhooks" not in path
    ]


def addresses(app: FastAPI) -> list[tuple[str, str]]:
    """Method and path of each route that no other test of hostile requests calls."""
    documented = app.openapi()["paths"]
    return sorted(
        (method, route.path)
        for route in iter_route_contexts(app.routes)
        if route.path is not None and route.path not in documented
        for method in route.methods or ()
        if method != "HEAD"
    )
