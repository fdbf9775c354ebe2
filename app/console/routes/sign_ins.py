"""The page Sign-ins: a key's sessions of the console, and ending them."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.api.http.auth import MAX_KEY_CHARS, ContextHere, route_of
from app.api.http.requests import shielded
from app.console.http.forms import form_of
from app.console.http.pages import ConsoleRoute, Refused, csrf_of, page
from app.console.http.signed_in import Viewer
from app.flows.console import sign_in as flow
from app.security_log import Act, Result, write

router = APIRouter(prefix="/console", route_class=ConsoleRoute)

ALL_OTHERS = "others"
PAGE = "/console/sign-ins"


@router.get("/sign-ins")
async def sign_ins_page(request: Request, context: ContextHere, viewer: Viewer, ended: str = "") -> Response:
    sign_ins = await flow.sign_ins_of(context, viewer)
    return page(request, "sign_ins.html", viewer, sign_ins=sign_ins, ended=ended.isdigit() and ended[:4])


@router.post("/sign-ins/end")
async def end(request: Request, context: ContextHere, viewer: Viewer) -> Response:
    """Ends one of the key's sessions, or all others. Asks for the key again: an open browser is not enough."""
    fields = await form_of(request, csrf_of(viewer.token))
    key, which = fields.get("key", "").strip(), fields.get("which", "")
    if not 0 < len(key) <= MAX_KEY_CHARS or not await flow.is_key_of(context, viewer, key):
        context.security.refused(
            Act.SIGNED_OUT, context.clock.monotonic(), key_id=viewer.key.id, route=route_of(request)
        )
        raise Refused(
            403, "This is not the key of this session", "Nothing was changed. Go back and enter it again."
        )
    count = await shielded(flow.end_sign_ins(context, viewer, None if which == ALL_OTHERS else which))
    write(Act.SIGNED_OUT, Result.DONE, who=viewer.key.name, key_id=viewer.key.id, ended=str(count))
    return RedirectResponse(f"{PAGE}?ended={count}", 303)
