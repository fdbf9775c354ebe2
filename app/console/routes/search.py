"""The page Search: sessions by id or filters, also as CSV. By any id that a caller may have; filters stand in the
address."""

from fastapi import APIRouter, Request, Response

from app.api.http.auth import ContextHere
from app.api.http.cursor import from_cursor, to_cursor
from app.console.http.pages import ConsoleRoute, Refused, page
from app.console.http.query import MOST_CHARS, filters_of
from app.console.http.signed_in import Viewer
from app.console.views.found import found_csv, found_rows
from app.domain.session.payment_session import Status
from app.domain.session.settlement import SettlementStatus
from app.flows.console.search import MOST_CSV, orphans_named, search, search_all

router = APIRouter(prefix="/console", route_class=ConsoleRoute)

MOST_CURSOR_CHARS = 200


@router.get("/search")
async def search_page(request: Request, context: ContextHere, viewer: Viewer, cursor: str = "") -> Response:
    filters = filters_of(request, viewer.key.operator_id)
    after = from_cursor(cursor[:MOST_CURSOR_CHARS] or None)
    found = await search(context, filters.wanted, after=after)
    name = filters.given.get("q", "") if not filters.wrong else ""
    return page(
        request,
        "search.html",
        viewer,
        status=422 if filters.wrong else 200,
        f=filters,
        rows=[] if filters.wrong else found_rows(found, context.policy),
        next=to_cursor(*found.next) if found.next and not filters.wrong else "",
        orphans=await orphans_named(context, viewer.key.operator_id, name) if name else [],
        now=context.clock.now(),
        several_operators=viewer.key.operator_id is None,
        statuses=list(Status),
        settlements=list(SettlementStatus),
        most_chars=MOST_CHARS,
        most_csv=MOST_CSV,
    )


@router.get("/search.csv")
async def search_csv(request: Request, context: ContextHere, viewer: Viewer) -> Response:
    """The same list whole, newest first; MOST_CSV sessions at most."""
    filters = filters_of(request, viewer.key.operator_id)
    if filters.wrong:
        reasons = "; ".join(f"{name} {why}" for name, why in filters.wrong.items())
        raise Refused(422, "A filter is not right", f"Go back and correct it: {reasons}.")
    pages = [each async for each in search_all(context, filters.wanted)]
    return Response(
        found_csv(pages, context.policy),
        media_type="text/csv",
        headers={"Content-Disposition": 'attachment; filename="sessions.csv"'},
    )
