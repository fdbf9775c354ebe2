"""Entry point for HTTP. Opens the context, mounts the routes, closes the context."""

from collections.abc import Callable

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.docs.openapi import DocumentedApp, error_codes
from app.api.figures import Figures
from app.api.http.auth import Refusals, route_of
from app.api.http.caller_address import name_caller
from app.api.http.foreign import note_foreign_access
from app.api.http.hot_paths import Deliveries, HotPaths
from app.api.http.live import SessionChanges
from app.api.http.problems import (
    ANSWERS,
    Problem,
    on_http_exception,
    on_invalid_request,
    on_known_error,
    problem_response,
)
from app.api.http.rate_limits import Quotas, RateLimits
from app.api.http.responses import safe_headers
from app.api.http.traces import traced
from app.api.kept_views import KeptViews
from app.api.routes import (
    availability,
    events,
    evidence,
    find_sessions,
    health,
    monta_webhook,
    ops,
    orphans,
    reconciliation,
    terminal,
    well_known,
)
from app.api.schemas import FieldErrors
from app.console import routes as console
from app.flows.context import Context, SessionUnknown
from app.flows.operator.reconcile import OrphanUnknown
from app.security_log import calling_from
from app.store.db.database import DATABASE_ERRORS
from app.store.db.scope import NONE, limited_to
from app.store.db.secret_box import SecretUnreadable

log = structlog.get_logger("http")

DESCRIPTION = """Card payment at EV chargers on Monta. A terminal reports an authorized payment; Tapwatt starts the
charge, stops it before the authorized amount would be exceeded, and states exactly what to capture."""

ROUTERS = (
    terminal.router,
    find_sessions.router,
    events.router,
    monta_webhook.router,
    ops.router,
    orphans.router,
    reconciliation.router,
    availability.router,
    evidence.router,
    health.router,
)
"""The documented endpoints."""


def create_app(
    context: Context,
    *,
    news: SessionChanges | None = None,
    metrics: Callable[[], str] = lambda: "",
    allow_plain_http: bool = False,
    docs: bool = True,
    security_contact: str | None = None,
) -> FastAPI:
    """Builds the HTTP service around an open context. The caller opens and closes it.

    `allow_plain_http`: the console's cookies are sent over plain http too (development). `docs`: whether `/docs` and
    `/openapi.json` exist. `security_contact`: what security.txt names.
    """
    app = DocumentedApp(
        title="Tapwatt",
        version="0.1.0",
        description=f"{DESCRIPTION}\n\n{error_codes()}",
        openapi_url="/openapi.json" if docs else None,
        docs_url=None,  # FastAPI's page loads a script from elsewhere; ours is in routes/well_known
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # ours is app/telemetry
    )
    app.state.context = context
    app.state.security_contact = security_contact
    app.state.news = news or SessionChanges()
    app.state.process_metrics = metrics
    app.state.refusals = Refusals()
    app.state.figures = Figures()
    app.state.limits = RateLimits(Quotas())
    app.state.views, app.state.own_views = KeptViews(), KeptViews()
    app.documented = ROUTERS
    for router in app.documented:
        app.include_router(router)
    app.include_router(well_known.router)
    console.add_to(app, allow_plain_http=allow_plain_http)
    _answer_errors(app)
    app.add_middleware(HotPaths, paths=(*terminal.HOT, ops.HOT), handlers=app.exception_handlers)
    app.add_middleware(RequestIds, context=lambda: app.state.context)
    app.add_middleware(Deliveries, context=lambda: app.state.context)
    return app


def _answer_errors(app: FastAPI) -> None:
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(RequestValidationError, on_invalid_request)
    app.add_exception_handler(FieldErrors, _on_field_errors)
    for error in ANSWERS:
        app.add_exception_handler(error, on_known_error)
    for error in (SessionUnknown, OrphanUnknown):
        app.add_exception_handler(error, _on_unknown)
    app.add_exception_handler(SecretUnreadable, _on_unreadable)
    for error in DATABASE_ERRORS:
        app.add_exception_handler(error, _on_database_error)


async def _on_field_errors(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, FieldErrors)
    return problem_response(
        request, Problem("invalid_request", "Some fields are not right; see errors.", errors=error.errors)
    )


async def _on_unknown(request: Request, error: Exception) -> JSONResponse:
    await note_foreign_access(request)
    return await on_known_error(request, error)


async def _on_unreadable(request: Request, error: Exception) -> JSONResponse:
    """Answers 503 where an operator's secrets are needed and cannot be decrypted. Callers retry, and nothing is
    written."""
    log.error("operator_unreadable", route=route_of(request), why=str(error))
    return await on_known_error(request, error)


async def _on_database_error(request: Request, error: Exception) -> JSONResponse:
    log.warning("database_trouble", error=type(error).__name__, route=route_of(request))
    return await on_known_error(request, error)


class RequestIds:
    """Gives every request an id, and turns a crash into a problem. The id is in the answer and every log line."""

    def __init__(self, app: ASGIApp, context: Callable[[], Context]) -> None:
        self._app = app
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = self._context()
        request_id = context.ids.new("req")
        scope.setdefault("state", {})["request_id"] = request_id
        begun = False
        safe = safe_headers(scope)

        async def tagged(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                span.answered(message["status"])
                given = message.get("headers", [])
                names = {name for name, _ in given}
                message["headers"] = [
                    *given,
                    *(header for header in safe if header[0] not in names),
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        address = name_caller(scope)
        # No operator's rows until a key or an endpoint names one.
        with limited_to(NONE), calling_from(address, request_id), traced(context.tracing, scope) as span:
            try:
                await self._app(scope, receive, tagged)
            except Exception:
                log.exception("request_failed", route=route_of(Request(scope)))
                if begun:
                    raise
                problem = Problem(
                    "internal_error", "The request failed here; nothing is known to be recorded."
                )
                await problem_response(Request(scope), problem)(scope, receive, tagged)
