"""Pages for signing in and out, and every page's files. Signing in needs an operations key."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.api.http.auth import MAX_KEY_CHARS, ContextHere, KeyKind, Refusals
from app.api.http.requests import shielded
from app.console.http.assets import asset_response
from app.console.http.forms import form_of
from app.console.http.pages import ConsoleRoute, Refused, csrf_of, page
from app.console.http.signed_in import (
    COOKIE,
    SIGN_IN_COOKIE,
    FailedSignIns,
    Viewer,
    cookie_of,
    drop_cookie,
    set_cookie,
    viewer_if_any,
)
from app.flows.console import sign_in as flow
from app.flows.context import Context
from app.security_log import Act as SecurityAct
from app.security_log import Result, write

router = APIRouter(prefix="/console", route_class=ConsoleRoute)

HOME = "/console"


@router.get("/static/{address}")
async def static(request: Request, address: str) -> Response:
    found = asset_response(request, address)
    if found is None:
        raise Refused(404, "There is no such file", "It belongs to another release: reload the page.")
    return found


@router.get("/")
async def home() -> Response:
    return RedirectResponse(HOME, 308)


@router.get("/sign-in")
async def sign_in_page(request: Request, context: ContextHere, next: str = HOME) -> Response:  # noqa: A002
    if await viewer_if_any(request, context) is not None:
        return RedirectResponse(_safe(next), 303)
    return _sign_in_page(request, context, _safe(next))


@router.post("/sign-in")
async def sign_in(request: Request, context: ContextHere) -> Response:
    nonce = cookie_of(request, SIGN_IN_COOKIE)
    fields = await form_of(request, nonce)
    where = _safe(fields.get("next", HOME))
    failed: FailedSignIns = request.app.state.failed_sign_ins
    address, now_s = request.client.host if request.client else "", context.clock.monotonic()
    wait_s = failed.wait_s(address, now_s)
    if wait_s:
        problem = f"Too many failed sign-ins from here. Try again in {wait_s} seconds."
        response = _sign_in_page(request, context, where, problem, status=429)
        response.headers["Retry-After"] = str(wait_s)
        return response
    key = fields.get("key", "").strip()
    found = await shielded(flow.sign_in(context, key, address)) if 0 < len(key) <= MAX_KEY_CHARS else None
    if found is None:
        failed.count(address, now_s)
        refusals: Refusals = request.app.state.refusals
        refusals.count(context, KeyKind.OPERATIONS)
        context.security.refused(SecurityAct.SIGNED_IN, now_s)
        return _sign_in_page(request, context, where, "This key is not valid.", status=401)
    failed.forget(address)
    write(SecurityAct.SIGNED_IN, Result.ALLOWED, who=found.key.name, key_id=found.key.id)
    response = RedirectResponse(where, 303)
    set_cookie(request, response, COOKIE, found.token)
    drop_cookie(request, response, SIGN_IN_COOKIE)
    return response


@router.post("/sign-out")
async def sign_out(request: Request, context: ContextHere, viewer: Viewer) -> Response:
    await form_of(request, csrf_of(viewer.token))
    await shielded(flow.sign_out(context, viewer.token))
    write(SecurityAct.SIGNED_OUT, Result.DONE, who=viewer.key.name, key_id=viewer.key.id)
    response = RedirectResponse("/console/sign-in", 303)
    drop_cookie(request, response, COOKIE)
    response.headers["Clear-Site-Data"] = '"cache"'
    return response


def _sign_in_page(
    request: Request, context: Context, where: str, problem: str = "", *, status: int = 200
) -> Response:
    """Renders the sign-in form, with a token of its own. So no other site signs a person in under its key."""
    nonce = context.ids.secret("form")
    response = page(request, "sign_in.html", status=status, nonce=nonce, next=where, problem=problem)
    set_cookie(request, response, SIGN_IN_COOKIE, nonce)
    return response


def _safe(where: str) -> str:
    """A page of the console, whatever was asked for."""
    inside = where == HOME or where.startswith((f"{HOME}/", f"{HOME}?"))
    return where if inside and where.isprintable() and "\\" not in where else HOME
