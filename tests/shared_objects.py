"""Shares what takes long to make and keeps no state of a test: engines with compiled statements, HTTP applications.

Compiling every statement and building every route anew was a tenth of each short test.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from fastapi import FastAPI

from app.api.figures import Figures
from app.api.http.auth import Refusals
from app.api.http.live import SessionChanges
from app.api.http.rate_limits import Quotas, RateLimits
from app.api.kept_views import KeptViews
from app.console import routes as console
from app.flows.context import Context
from app.main import create_app
from app.store.db.database import Database

_DATABASES: dict[tuple[str, int], list[Database]] = defaultdict(list)
_APPS: list[FastAPI] = []


@asynccontextmanager
async def lent_database(url: str, *, pool_size: int = 10) -> AsyncIterator[Database]:
    """One with no connection open; it comes back closed, unless the server has refused it something."""
    stock = _DATABASES[url, pool_size]
    database = stock.pop() if stock else Database(url, pool_size=pool_size)
    try:
        yield database
    finally:
        await database.close()
    if database.refusal is None and database.connections_in_use == 0:
        stock.append(database)


ENDLESS = Quotas(calls=10**9, operator_calls=10**9, new_holds=10**9, failed_keys=10**9)
"""Tests call more often than terminals do."""


@contextmanager
def lent_app(context: Context, news: SessionChanges | None = None) -> Iterator[FastAPI]:
    """The HTTP service around `context`; it comes back unless a test gave it routes of its own."""
    if not _APPS:
        _APPS.append(create_app(context))
    app = _APPS.pop()
    app.state.context, app.state.news, app.state.refusals = context, news or SessionChanges(), Refusals()
    app.state.views, app.state.own_views, app.state.figures = KeptViews(), KeptViews(), Figures()
    app.state.limits = RateLimits(ENDLESS)
    console.forget(app)
    routes = list(app.routes)
    yield app
    if app.routes == routes:
        _APPS.append(app)
