"""Answers the most frequent calls before the framework routes them. It would match, parse and validate each.

FastAPI's own route of each call stays: it is the description, and answers whatever is out of the ordinary.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from re import Match, Pattern
from typing import Any, TypeAlias

from fastapi import Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.http.caller_address import name_caller
from app.api.http.card_data import HEADERS
from app.api.http.requests import MAX_WEBHOOK_BYTES, StrictRequest, bounded_body, within_deadline
from app.api.http.responses import JsonBytes, answer_at_once, safe_headers
from app.domain.units.frozen import frozen
from app.flows.context import Context
from app.flows.webhook import receive as flow
from app.monta.webhook import delivery_path
from app.security_log import calling_from
from app.store.db.scope import NONE, limited_to

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
        elif not await _answered(request, response):
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


async def _answered(request: StrictRequest, response: Response) -> bool:
    """Answers at once where nobody else looks at the answer. False: nothing was sent."""
    context: Context = request.app.state.context
    if context.tracing.is_on or not isinstance(response, JsonBytes):
        return False
    return await answer_at_once(request.scope, response, request.state.request_id.encode())


def _again(request: StrictRequest) -> Receive:
    """Gives the body once more, if it was read."""
    body = request.__dict__.get("_body")
    if body is None:
        return request.receive
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        return next(messages, None) or await request.receive()

    return receive


FAILED = "tapwatt.failed"
"""Where a request's scope keeps what `Deliveries` raised."""


async def keep(request: Request, context: Context, endpoint_id: str, signature: str | None) -> None:
    """Keeps a delivery. Raises what `Deliveries` raised, if it did."""
    failed: Exception | None = request.scope.get(FAILED)
    if failed is not None:
        raise failed
    body = await bounded_body(request, MAX_WEBHOOK_BYTES)
    await within_deadline(flow.receive(context, endpoint_id, body, signature))


_PREFIX, _ENDPOINT = delivery_path(""), re.compile(r"[\w-]{1,100}", re.ASCII)
_KEPT = JsonBytes(b"{}")


class Deliveries:
    """Keeps deliveries before all other layers of ASGI, which would take longer than that.

    It knows no error of its own: the framework's route raises what was raised here, and answers whatever is out of the
    ordinary. An ASGI middleware.
    """

    def __init__(self, app: ASGIApp, context: Callable[[], Context]) -> None:
        self._app = app
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint_id, context = _endpoint(scope), self._context()
        if endpoint_id is None or context.tracing.is_on:
            await self._app(scope, receive, send)
            return
        request_id = context.ids.new("req")
        signature = next((value for name, value in scope["headers"] if name == b"x-monta-signature"), None)
        try:
            with limited_to(NONE), calling_from(name_caller(scope), request_id):
                given = None if signature is None else signature.decode("latin-1")
                await keep(Request(scope, receive), context, endpoint_id, given)
        except Exception as error:
            scope[FAILED] = error
            await self._app(scope, receive, send)
            return
        if not await answer_at_once(scope, _KEPT, request_id.encode()):
            headers = [*_KEPT.raw_headers, *safe_headers(scope), (b"x-request-id", request_id.encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": _KEPT.body})


def _endpoint(scope: Scope) -> str | None:
    """The endpoint of a delivery; None: it is none, or its address is out of the ordinary."""
    if scope["type"] != "http" or scope["method"] != "POST" or scope["query_string"]:
        return None
    path: str = scope["path"]
    named = _ENDPOINT.fullmatch(path, len(_PREFIX)) if path.startswith(_PREFIX) else None
    return None if named is None else named[0]
