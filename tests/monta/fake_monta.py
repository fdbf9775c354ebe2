"""A small scripted Monta: tokens work, all other answers are scripted, all requests are kept."""

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

import httpx

from app.clock import Clock
from app.monta.ports import Credentials

Message = MutableMapping[str, Any]

BASE_URL = "http://monta.test/api/v1"
CREDENTIALS = Credentials(BASE_URL, "client-1", "s3cret-of-the-client")


@dataclass(frozen=True)
class Reply:
    """One scripted answer; a body that is no bytes goes out as JSON."""

    status: int = 200
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    call: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class FakeMonta:
    """An ASGI application. `replies["GET /charges/5"]` are used up in order, the last one stays."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.seen: list[Seen] = []
        self.replies: dict[str, deque[Reply]] = defaultdict(deque)
        self.access: set[str] = set()
        self.refresh: set[str] = set()
        self.access_life_s = 3600
        self.issued = 0

    def script(self, call: str, *replies: Reply) -> None:
        self.replies[call] = deque(replies)

    def calls(self, prefix: str = "") -> list[str]:
        return [seen.call for seen in self.seen if seen.call.startswith(prefix)]

    def forget_tokens(self) -> None:
        """Revokes every access token."""
        self.access.clear()

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        seen = Seen(
            call=f"{scope['method']} {scope['path'].removeprefix('/api/v1')}",
            query=dict(parse_qsl(scope["query_string"].decode())),
            headers={name.decode().lower(): value.decode() for name, value in scope["headers"]},
            body=body,
        )
        self.seen.append(seen)
        reply = self._reply(seen)
        headers = [(name.encode(), value.encode()) for name, value in reply.headers.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.content()})

    def _reply(self, seen: Seen) -> Reply:
        script = self.replies[seen.call]
        if seen.call.startswith("POST /auth/"):
            return script.popleft() if script else self._token(seen)
        if seen.headers.get("authorization", "").removeprefix("Bearer ") not in self.access:
            return Reply(401, {"status": "UNAUTHORIZED", "errorCode": "INVALID_ACCESS_TOKEN"})
        if not script:
            return Reply(404, {"status": "NOT_FOUND", "errorCode": "RESOURCE_NOT_FOUND"})
        return script.popleft() if len(script) > 1 else script[0]

    def _token(self, seen: Seen) -> Reply:
        given = json.loads(seen.body)
        if seen.call == "POST /auth/refresh":
            if given["refreshToken"] not in self.refresh:
                return Reply(401, {"errorCode": "INVALID_ACCESS_TOKEN", "message": given["refreshToken"]})
            self.refresh.remove(given["refreshToken"])  # used once, as a rotating refresh token is
        elif given != {"clientId": CREDENTIALS.client_id, "clientSecret": CREDENTIALS.client_secret}:
            return Reply(401, {"errorCode": "CONSUMER_NOT_FOUND", "message": given["clientSecret"]})
        self.issued += 1
        access, refresh = f"access-{self.issued}", f"refresh-{self.issued}"
        self.access.add(access)
        self.refresh.add(refresh)
        return Reply(
            200,
            {
                "accessToken": access,
                "refreshToken": refresh,
                "accessTokenExpirationDate": self._in(self.access_life_s),
                "refreshTokenExpirationDate": self._in(86400),
            },
        )

    def _in(self, seconds: float) -> str:
        """Nine fraction digits, as Monta writes them."""
        return (self.clock.now() + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%f") + "728Z"


class Line(httpx.AsyncBaseTransport):
    """The transport to the fake. `before[call]` fails ahead of sending, `after[call]` once it was done; each once.
    `gates[call]` holds it back until the event is set, `meanwhile[call]` happens on the way."""

    def __init__(self, monta: FakeMonta) -> None:
        self._to_monta = httpx.ASGITransport(app=monta)
        self.before: dict[str, Exception] = {}
        self.after: dict[str, Exception] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.meanwhile: dict[str, Callable[[], None]] = {}
        self.timeouts: dict[str, object] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        call = f"{request.method} {request.url.path.removeprefix('/api/v1')}"
        self.timeouts[call] = request.extensions["timeout"]
        await asyncio.sleep(0)  # the others get their turn, as on a real connection
        if call in self.gates:
            await self.gates[call].wait()
        if call in self.meanwhile:
            self.meanwhile[call]()
        if call in self.before:
            raise self.before.pop(call)
        response = await self._to_monta.handle_async_request(request)
        await asyncio.sleep(0)
        if call in self.after:
            raise self.after.pop(call)
        return response
