"""Responses whose JSON is encoded already."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

from starlette.responses import Response
from starlette.types import Scope

AT_ONCE = "tapwatt.at_once"
"""Our server's extension of ASGI: a WholeAnswer, which takes a tenth of the time of ASGI's messages."""
Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
WholeAnswer: TypeAlias = Callable[[int, bytes, bytes], Awaitable[None]]
"""Sends an answer in one write, given its status, its headers as they are sent, and its body."""


SAFE = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (
        b"content-security-policy",
        b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
)
"""Headers of every answer that does not set them itself. Session data is outdated at once: no proxy may cache it."""
OVER_TLS = (*SAFE, (b"strict-transport-security", b"max-age=63072000; includeSubDomains"))
"""The same where the caller came by https, as a trusted proxy says: browsers then use nothing else for two years."""


def safe_headers(scope: Scope) -> Headers:
    return OVER_TLS if scope.get("scheme") == "https" else SAFE


def as_sent(headers: Headers) -> bytes:
    """Headers as they are sent, each on a line of its own."""
    return b"".join([b"%s: %s\r\n" % header for header in headers])


_SAFE_AS_SENT = {id(safe): as_sent(safe) for safe in (SAFE, OVER_TLS)}


class JsonBytes(Response):
    """A response of encoded JSON. Endpoints that return it name their model as `response_model`, for OpenAPI."""

    media_type = "application/json"

    def __init__(self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(body, status, headers)


async def answer_at_once(scope: Scope, answer: JsonBytes, request_id: bytes) -> bool:
    """Sends an answer with the headers that every answer has. False: the server cannot, nothing was sent."""
    at_once: WholeAnswer | None = scope.get("extensions", {}).get(AT_ONCE)
    if at_once is None:
        return False
    head = as_sent((*answer.raw_headers, (b"x-request-id", request_id)))
    await at_once(answer.status_code, head + _SAFE_AS_SENT[id(safe_headers(scope))], bytes(answer.body))
    return True
