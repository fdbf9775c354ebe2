"""Traces calls of terminals, Monta and operations; a terminal's own trace goes on."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from starlette.requests import Request
from starlette.types import Scope

from app.api.http.auth import route_of
from app.tracing import Attributes, Kind, Span, Tracing

SESSION = re.compile(r"\bps_[0-9a-z]{26}\b")
HOT = re.compile(rf"(?P<sessions>/v1/(?:ops/)?payment-sessions)(?P<id>/{SESSION.pattern})?")
TRACED = "/v1/"
"""Probes, metrics and pages are not."""


class RequestSpan:
    """The span of a request. This one records nothing."""

    def answered(self, status: int) -> None:
        """Notes the status of the answer."""


_NOTHING: AbstractContextManager[RequestSpan] = nullcontext(RequestSpan())


def traced(tracing: Tracing, scope: Scope) -> AbstractContextManager[RequestSpan]:
    """A span around a request, where traces are taken."""
    if not tracing.is_on or not scope["path"].startswith(TRACED):
        return _NOTHING
    return _server_span(tracing, scope)


@contextmanager
def _server_span(tracing: Tracing, scope: Scope) -> Iterator[RequestSpan]:
    request = Request(scope)
    parent = request.headers.get("traceparent")
    attributes = {"http.request.method": request.method, "url.scheme": str(scope.get("scheme", "http"))}
    with tracing.span(request.method, Kind.SERVER, attributes, parent=parent) as span:
        try:
            yield _Recorded(span)
        finally:
            route = _route(request)
            span.name(f"{request.method} {route}")
            span.note({"http.route": route, **_session(request)})


def _route(request: Request) -> str:
    """The route's template; of a call that was answered before it was routed by its path, which has one form."""
    if "route" in request.scope:
        return route_of(request).partition(" ")[2]
    before, webhooks, _ = request.url.path.partition("/webhooks/")
    if webhooks:
        return f"{before}{webhooks}..."
    hot = HOT.fullmatch(before)
    return f"{hot['sessions']}{'/{id}' if hot['id'] else ''}" if hot else "..."


def _session(request: Request) -> Attributes:
    named = SESSION.search(request.url.path)
    return {"tapwatt.session.id": named[0]} if named else {}


class _Recorded(RequestSpan):
    def __init__(self, span: Span) -> None:
        self._span = span

    def answered(self, status: int) -> None:
        self._span.note({"http.response.status_code": status})
        if status >= 500:
            self._span.failed(str(status))
