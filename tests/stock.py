"""What takes long to make and remembers nothing of a test: engines with their compiled statements, HTTP applications.

Compiling every statement anew and building every route anew was a tenth of each short test.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from fastapi import FastAPI

from app.api.live import SessionNews
from app.api.refusals import Refusals
from app.flows.tools import Tools
from app.main import create_app
from app.store.database import Database

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


@contextmanager
def lent_app(tools: Tools, news: SessionNews | None = None) -> Iterator[FastAPI]:
    """The HTTP service around `tools`; it comes back unless a test gave it routes of its own."""
    if not _APPS:
        _APPS.append(create_app(tools))
    app = _APPS.pop()
    app.state.tools, app.state.news, app.state.refusals = tools, news or SessionNews(), Refusals()
    routes = list(app.routes)
    yield app
    if app.routes == routes:
        _APPS.append(app)
