"""The page Runbook: what items and alerts mean, and what to do. With what closes each."""

from fastapi import APIRouter, Request, Response

from app.console.http.pages import ConsoleRoute, page
from app.console.http.signed_in import Viewer
from app.domain.alerts.causes import ALERTS
from app.domain.session.attention import CODES, SEVERITIES

router = APIRouter(prefix="/console", route_class=ConsoleRoute)


@router.get("/runbook")
async def runbook_page(request: Request, viewer: Viewer) -> Response:
    groups = {"Sessions": CODES, "Accounts and the installation": ALERTS}
    return page(request, "runbook.html", viewer, groups=groups, severities=SEVERITIES)
