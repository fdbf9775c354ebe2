"""The endpoints of the console, one module a page."""

from fastapi import FastAPI

from app.console.board import Boards
from app.console.http.signed_in import FailedSignIns
from app.console.routes import (
    equipment,
    health,
    live,
    money,
    runbook,
    search,
    session,
    sign_in,
    sign_ins,
    unknown,
)
from app.console.session_stream import SessionStreams
from app.console.viewers import Viewers

routers = (
    sign_in.router,
    sign_ins.router,
    live.router,
    session.router,
    search.router,
    money.router,
    equipment.router,
    health.router,
    runbook.router,
    unknown.router,
)
"""In the order in which addresses are matched: the last one takes what no other does."""


def add_to(app: FastAPI, *, allow_plain_http: bool) -> None:
    """Adds the console to the service. `allow_plain_http`: its cookies are sent over plain http too (development)."""
    app.state.allow_plain_http = allow_plain_http
    forget(app)
    for router in routers:
        app.include_router(router, include_in_schema=False)


def forget(app: FastAPI) -> None:
    """Begins with no viewers and no failed sign-ins."""
    app.state.boards, app.state.failed_sign_ins = Boards(), FailedSignIns()
    app.state.session_streams, app.state.viewers = SessionStreams(), Viewers()
