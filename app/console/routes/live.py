"""Live: what runs now, patched by one stream."""

from fastapi import APIRouter, Request, Response

from app.api.http.auth import ContextHere
from app.console.board import Board, Boards
from app.console.http.pages import ConsoleRoute, page
from app.console.http.signed_in import Viewer
from app.console.http.streams import event_stream
from app.console.views.formats import duration, epoch_ms
from app.console.views.rows import Row

router = APIRouter(prefix="/console", route_class=ConsoleRoute)

BLANK: Row = {
    "id": "",
    "version": 0,
    "order": 0,
    "tone": "",
    "status": "",
    "point": "",
    "place": "",
    "reference": "",
    "used_minor": 0,
    "authorized_minor": 1,
    "used": "",
    "authorized": "",
    "energy": "",
    "power": "",
    "limit_at": None,
    "news_at": None,
    "news": "",
    "attention": "",
}


@router.get("")
async def live(request: Request, context: ContextHere, viewer: Viewer) -> Response:
    board = _board(request, context, viewer)
    await board.refresh()
    now = board.now or context.clock.now()
    now_ms = epoch_ms(now) or 0

    def counted(row: Row) -> dict[str, object]:
        """With the times as the page's script writes them, for a browser without it."""
        limit, news = row["limit_at"], row["news_at"]
        left_s = None if limit is None else max(0, limit - now_ms) / 1000
        age_s = None if news is None else max(0, now_ms - news) / 1000
        return {
            **row,
            "limit": "now" if left_s == 0 else duration(left_s),
            "news_age": f"{duration(age_s)} ago" if age_s is not None else "",
        }

    return page(
        request,
        "live.html",
        viewer,
        rows=[counted(row) for row in board.rows()],
        blank={**BLANK, "limit": "", "news_age": ""},
        tiles=board.tiles,
        now=now,
        now_ms=now_ms,
    )


@router.get("/live/stream")
async def stream(request: Request, context: ContextHere, viewer: Viewer) -> Response:
    """Server-sent events for Live, until the session is over or the process ends."""
    board = _board(request, context, viewer)
    return event_stream(request, viewer, board.watch(viewer.token, request.app.state.news))


def _board(request: Request, context: ContextHere, viewer: Viewer) -> Board:
    boards: Boards = request.app.state.boards
    return boards.of(context, viewer.key.operator_id)
