"""Responses whose JSON is encoded already."""

from collections.abc import Mapping

from starlette.responses import Response


class JsonBytes(Response):
    """A response of encoded JSON. Endpoints that return it name their model as `response_model`, for OpenAPI."""

    media_type = "application/json"

    def __init__(self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(body, status, headers)
