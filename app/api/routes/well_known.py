"""Serves the API's page, and where to report a weakness (RFC 9116)."""

from datetime import timedelta

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse

from app.api.docs.reference_page import POLICY, reference_page
from app.api.http.auth import ContextHere
from app.api.http.problems import Problem

VALID = timedelta(days=180)

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs(request: Request) -> Response:
    """The OpenAPI document for people; nothing is loaded from elsewhere. Not found where it is switched off."""
    if request.app.openapi_url is None:
        raise Problem("not_found", "The documentation is switched off here.")
    page = reference_page(request.app.openapi())
    return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})


@router.get("/.well-known/security.txt")
async def security_txt(request: Request, context: ContextHere) -> Response:
    contact = request.app.state.security_contact
    if contact is None:
        raise Problem("not_found", "No contact for security is set here.")
    expires = (context.clock.now() + VALID).replace(microsecond=0).isoformat()
    return PlainTextResponse(f"Contact: {contact}\nExpires: {expires}\nPreferred-Languages: en\n")
