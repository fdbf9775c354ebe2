"""Adapts the simulator to ASGI, without a framework."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from app.simulator.http.answers import Answer

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Handle = Callable[["Arrived"], Awaitable[Answer]]
BASE = "/api/v1"
MAX_BODY = 1_048_576
_CUT_SHORT_BY = 40


class Arrived:
    """A request as received: `path` relative to the base, empty when it is outside of it."""

    def __init__(self, scope: Scope, body: bytes) -> None:
        full: str = scope["path"]
        self.method: str = scope["method"].upper()
        self.path = full.removeprefix(BASE) if full.startswith(f"{BASE}/") else ""
        self.query_text: str = scope["query_string"].decode("latin-1")
        self.query: Mapping[str, str] = dict(parse_qsl(self.query_text, keep_blank_values=True))
        self.headers: Mapping[str, str] = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        self.body = body


class AsgiApp:
    """Serves `handle` under the base; acknowledges the lifespan and nothing more."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self.over_socket = False
        """Set by a server: see `_send`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            body = await _body(receive)
            answer = Answer(413) if body is None else await self._handle(Arrived(scope, body))
            await _send(answer, send, over_socket=self.over_socket)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _body(receive: Receive) -> bytes | None:
    """The whole body, or None when it is too large."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(parts)
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY:
            return None
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


async def _send(answer: Answer, send: Send, *, over_socket: bool) -> None:
    """Sends an answer. A cut one announces its whole length and ends early: over a socket it is left unfinished,
    upon which the server closes the connection; in process it is finished, and the client finds a truncated
    body."""
    body = answer.body[: max(0, len(answer.body) - _CUT_SHORT_BY)] if answer.cut else answer.body
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
    if answer.status != 204:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    unfinished = answer.cut and over_socket
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": unfinished})
