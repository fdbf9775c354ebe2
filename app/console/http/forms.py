"""Reads a form: bounded, one value a field, with the session's CSRF token."""

import hmac
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from fastapi import Request

from app.api.http.auth import route_of
from app.api.http.requests import bounded_body
from app.console.http.pages import Refused
from app.flows.context import Context
from app.security_log import Act

MAX_FORM_BYTES = 8 * 1024
MOST_FIELDS = 20
MOST_REASON_CHARS = 200
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


async def form_of(request: Request, csrf: str) -> Mapping[str, str]:
    """The fields of a form. Raises Refused for a form that is not a page of ours, `body_too_large` for a long one."""
    if not _from_here(request):
        raise _not_ours(request)
    body = await bounded_body(request, MAX_FORM_BYTES)
    try:
        pairs = parse_qsl(
            body.decode("utf-8"), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict"
        )
    except ValueError:
        raise Refused(400, "The form cannot be read", "Go back, reload the page and try again.") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise Refused(
            400, "The form cannot be read", "A field was sent twice. Reload the page and try again."
        )
    if not csrf or not hmac.compare_digest(fields.get("csrf", "").encode(), csrf.encode()):
        raise _not_ours(request)
    return fields


def _not_ours(request: Request) -> Refused:
    context: Context = request.app.state.context
    context.security.refused(Act.FORM_REFUSED, context.clock.monotonic(), route=route_of(request))
    return Refused(
        403,
        "The form is not of this session",
        "Nothing was changed. Go back, reload the page and send the form again.",
    )


def _from_here(request: Request) -> bool:
    """Whether the browser says that the form came from this very site. Old browsers say nothing; the token counts."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def reason_of(fields: Mapping[str, str], name: str = "reason") -> str:
    """Why a person acts, for the journal. Raises Refused."""
    reason = fields.get(name, "").strip()
    if not reason or len(reason) > MOST_REASON_CHARS or CONTROL.search(reason):
        raise Refused(
            422,
            "A reason is needed",
            f"Nothing was changed. Go back and write 1 to {MOST_REASON_CHARS} characters, on one line.",
        )
    return reason
