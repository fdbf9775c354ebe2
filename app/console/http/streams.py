"""Answers with server-sent events. As many as the process and the key may have open."""

from collections.abc import AsyncGenerator

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from app.console.http.pages import Refused
from app.console.viewers import Viewers
from app.flows.console.sign_in import SignedIn


def event_stream(request: Request, viewer: SignedIn, stream: AsyncGenerator[bytes, None]) -> Response:
    """Sends a stream, as long as the browser takes it. Raises Refused when too many are open."""
    viewers: Viewers = request.app.state.viewers
    if not viewers.has_room(viewer.key):
        raise Refused(503, "Too many pages are open", "Close some pages of the console.")
    return StreamingResponse(
        viewers.counted(viewer.key, stream),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )
