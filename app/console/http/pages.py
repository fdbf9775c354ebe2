"""Renders pages from templates, with common headers. Errors are pages, too."""

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Coroutine, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from app.api.http.foreign import note_foreign_access
from app.api.http.problems import ANSWERS, KINDS, Problem, problem_of
from app.console.http.assets import address_of
from app.console.views import formats
from app.domain.units.control_chars import visible
from app.flows.console.sign_in import SignedIn
from app.flows.context import SessionUnknown
from app.store.operators.keys import Role

if TYPE_CHECKING:
    from jinja2 import Environment

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
"""Nothing inline, nothing from elsewhere, in no frame."""

SIGN_IN = "/console/sign-in"

PAGES = (
    ("/console", "Live"),
    ("/console/search", "Search"),
    ("/console/money", "Money"),
    ("/console/equipment", "Terminals"),
    ("/console/health", "Health"),
)


@cache
def templates() -> "Environment":
    """Loads jinja2 and compiles every template, once. Many processes never show a page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent.parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: visible(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.filters.update(formats.FILTERS)
    found.globals["asset"] = address_of
    for name in found.list_templates():
        found.get_template(name)
    return found


async def _templates_loaded() -> None:
    """Loads them in a thread. It takes a tenth of a second, and a stop may be due meanwhile."""
    if not templates.cache_info().currsize:
        await asyncio.to_thread(templates)


class SignInNeeded(Exception):
    """The page needs a session, and the browser has no valid one."""


class Refused(Exception):
    """A request that the console does not carry out. The words are for the person at the browser."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.detail = detail


def page(
    request: Request,
    template: str,
    viewer: SignedIn | None = None,
    *,
    status: int = 200,
    **values: object,
) -> HTMLResponse:
    """Renders a template. It knows the viewer, their CSRF token and whether they may act."""
    return HTMLResponse(part(template, viewer, path=request.url.path, pages=PAGES, **values), status)


def part(template: str, viewer: SignedIn | None = None, **values: object) -> str:
    """Renders a part of a page. It knows the same of its viewer."""
    known = {
        "viewer": viewer,
        "csrf": csrf_of(viewer.token) if viewer else "",
        "may_act": viewer is not None and may_act(viewer),
    }
    return templates().get_template(template).render(known | values)


def csrf_of(token: str) -> str:
    """Returns the token that every form of a session carries. It proves that the form is a page of ours."""
    return hmac.new(token.encode(), b"console form", hashlib.sha256).hexdigest()


def may_act(viewer: SignedIn) -> bool:
    """Whether the key may change anything."""
    return viewer.key.role is Role.OPERATE


def error_page(request: Request, status: int, title: str, detail: str) -> HTMLResponse:
    return page(request, "error.html", status=status, title=title, detail=detail)


class ConsoleRoute(APIRoute):
    """A route whose errors are pages, and whose answers all have HEADERS."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def shown(request: Request) -> Response:
            await _templates_loaded()
            try:
                response = await handler(request)
            except SignInNeeded:
                response = _to_sign_in(request)
            except Refused as error:
                response = error_page(request, error.status, error.title, error.detail)
            except RequestValidationError:
                response = error_page(
                    request, 404, "There is nothing under this address", "Check the address, or search."
                )
            except HTTPException as error:
                response = _problem_page(request, error)
            except tuple(ANSWERS) as error:
                if isinstance(error, SessionUnknown):
                    await note_foreign_access(request)
                response = _problem_page(request, problem_of(error, request))
            response.headers.update(HEADERS)
            return response

        return shown


def _to_sign_in(request: Request) -> Response:
    """Redirects to the sign-in, from where a page leads back. A form does not, since it would be sent unseen."""
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.headers.get("accept", "").startswith("text/event-stream"):
        return Response("event: out\ndata: {}\n\n", media_type="text/event-stream")  # the page asks no more
    query = f"?next={quote(wanted)}" if request.method == "GET" and wanted != "/console" else ""
    return RedirectResponse(SIGN_IN + query, 303)


def _problem_page(request: Request, error: HTTPException) -> HTMLResponse:
    if not isinstance(error, Problem):
        return error_page(request, error.status_code, "This did not work", "Go back and try again.")
    reasons = "; ".join(f"{e['field']} {e['message']}" for e in error.errors)
    title = KINDS[error.code].title
    response = error_page(request, error.status_code, title, reasons or str(error.detail))
    _retry_after(response, error.headers)
    return response


def _retry_after(response: HTMLResponse, headers: Mapping[str, str] | None) -> None:
    if headers and "Retry-After" in headers:
        response.headers["Retry-After"] = headers["Retry-After"]
