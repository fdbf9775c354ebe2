"""Answers every other address under /console with a page. Instead of the API's JSON."""

from fastapi import APIRouter, Response

from app.console.http.pages import ConsoleRoute, Refused

router = APIRouter(prefix="/console", route_class=ConsoleRoute)


@router.get("/{rest:path}")
async def unknown(rest: str) -> Response:
    raise Refused(404, "There is nothing under this address", "Check the address, or search.")
