"""Terminals' endpoint for events: what their maker's endpoint was told, or should have been."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.api.docs import examples
from app.api.event_views import event_json
from app.api.http.auth import CallingTerminal, ContextHere
from app.api.http.foreign import note_foreign_event
from app.api.http.problems import Problem
from app.api.http.requests import StrictRoute
from app.api.http.responses import JsonBytes
from app.api.models.events import EventOut
from app.api.models.sessions import Page
from app.api.views import page_json
from app.flows.events.list_events import MOST_LISTED, list_events

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["terminals"])


@router.get(
    "/events",
    summary="Events that were missed",
    operation_id="listEvents",
    response_model=Page[EventOut],
    responses=examples.EVENTS,
)
async def events(
    *,
    request: Request,
    context: ContextHere,
    terminal: CallingTerminal,
    after: Annotated[
        str | None,
        Query(
            pattern="^evt_[0-9a-z]{26}$",
            description="the event that was seen last; without it the oldest come first",
            examples=[examples.EVENT_ID],
        ),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED, examples=[100])] = 100,
) -> Response:
    """This terminal's events in a fixed order, new ones last. Repeat with `next_cursor` or the last `id` as `after`.

    They are kept for 14 days (`TAPWATT_EVENT_DAYS`), and written only while an endpoint is set up for the terminal
    (`tapwatt endpoint add`); a paused one counts.
    """
    found = await list_events(context, terminal, after=after, limit=limit)
    if found is None:
        await note_foreign_event(request, after or "")
        raise Problem(
            "not_found",
            "This terminal has no such event, or no longer; leave `after` out for the oldest that is kept.",
        )
    cursor = found.events[-1].id if found.has_more else None
    return JsonBytes(page_json((event_json(event) for event in found.events), cursor))
