"""Shares what takes long to make and keeps no state of a test: connections, compiled statements, HTTP applications.

Compiling every statement and building every route anew was a tenth of each short test; new connections, whose
PostgreSQL processes know no table yet, were half of it.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import asyncpg
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

_DATABASES: dict[tuple[str, int, bool], list[Database]] = defaultdict(list)
"""By URL, size and whether their connections stay open."""
_APPS: list[FastAPI] = []
kept_loops: set[asyncio.AbstractEventLoop] = set()
"""Loops that outlive a test, so that its connections may."""
KEPT = 4
"""Connections that stay open, of each database's pool."""


@asynccontextmanager
async def lent_database(url: str, *, pool_size: int = 10) -> AsyncIterator[Database]:
    """One whose open connections are idle; it comes back unless the server has refused it something."""
    is_kept = asyncio.get_running_loop() in kept_loops
    stock = _DATABASES[url, pool_size, is_kept]
    database = stock.pop() if stock else Database(url, pool_size=pool_size)
    try:
        yield database
    except BaseException:
        await database.close()
        raise
    is_fit = database.refusal is None and database.connections_in_use == 0
    if is_kept and is_fit:
        await asyncio.gather(*(raw.close() for raw in _idle(database)[KEPT:]))
    else:
        await database.close()
    if is_fit:
        stock.append(database)


def _idle(database: Database) -> list[asyncpg.Connection]:
    return list(database._pool._idle)


def kept_pids() -> list[int]:
    """The server processes of the connections that no test uses at the moment."""
    unused = [database for stock in _DATABASES.values() for database in stock]
    return [raw.get_server_pid() for database in unused for raw in _idle(database)]


async def close_kept() -> None:
    """Closes every connection that no test uses, so that the next test opens new ones."""
    for stock in _DATABASES.values():
        for database in stock:
            await database.close()


ENDLESS = Quotas(calls=10**9, operator_calls=10**9, new_holds=10**9, failed_keys=10**9)
"""Tests call more often than terminals do."""


def begin_anew(app: FastAPI, context: Context, news: SessionChanges, quotas: Quotas) -> None:
    """Gives an application another context and an empty memory, as a new process has."""
    app.state.context, app.state.news, app.state.refusals = context, news, Refusals()
    app.state.views, app.state.own_views, app.state.figures = KeptViews(), KeptViews(), Figures()
    app.state.limits = RateLimits(quotas)
    console.forget(app)


@contextmanager
def lent_app(context: Context, news: SessionChanges | None = None) -> Iterator[FastAPI]:
    """The HTTP service around `context`; it comes back unless a test gave it routes of its own."""
    if not _APPS:
        _APPS.append(create_app(context))
    app = _APPS.pop()
    begin_anew(app, context, news or SessionChanges(), ENDLESS)
    routes = list(app.routes)
    yield app
    if app.routes == routes:
        _APPS.append(app)
