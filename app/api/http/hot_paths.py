"""Answers the most frequent calls before the framework routes them. It would match, parse and validate each.

FastAPI's own route of each call stays: it is the description, and answers whatever is out of the ordinary.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from re import Match, Pattern
from typing import Any, TypeAlias

from fastapi import Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.http.card_data import HEADERS
from app.api.http.requests import StrictRequest
from app.domain.units.frozen import frozen

Answer: TypeAlias = Callable[[StrictRequest, Match[str]], Awaitable[Response | None]]
"""Answers a call, given the match of its path and query. None: the framework's route shall. Raises what that raises."""
Handlers: TypeAlias = Mapping[Any, Callable[[Request, Any], Any]]

_READ_HEADERS = frozenset(name.encode() for name in HEADERS)


@frozen
class HotPath:
    """A call in its usual form: `form` matches path and query, as `/path?query`."""

    method: str
    form: Pattern[str]
    answer: Answer


class HotPaths:
    """ASGI middleware within the one that gives requests their ids."""

    def __init__(self, app: ASGIApp, paths: Sequence[HotPath], handlers: Handlers) -> None:
        """`handlers`: the application's exception handlers by type."""
        self._app = app
        self._paths = paths
        self._handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._find(scope) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        path, match = found
        request = StrictRequest(scope, receive)
        try:
            response = await path.answer(request, match)
        except Exception as error:
            handler = next((self._handlers[c] for c in type(error).__mro__ if c in self._handlers), None)
            if handler is None:
                raise
            response = await handler(request, error)
        if response is None:
            await self._app(scope, _again(request), send)
        else:
            await response(scope, receive, send)

    def _find(self, scope: Scope) -> tuple[HotPath, Match[str]] | None:
        if any(name in _READ_HEADERS for name, _ in scope["headers"]):
            return None
        called = f"{scope['path']}?{scope['query_string'].decode('latin-1')}"
        for path in self._paths:
            match = path.form.fullmatch(called) if path.method == scope["method"] else None
            if match is not None:
                return path, match
        return None


def _again(request: StrictRequest) -> Receive:
    """Gives the body once more, if it was read."""
    body = request.__dict__.get("_body")
    if body is None:
        return request.receive
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        return next(messages, None) or await request.receive()

    return receive
