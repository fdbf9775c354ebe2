"""The app behind the real HTTP server, for browsers and open streams."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI

from app.api.http.server import Server


@dataclass(frozen=True, slots=True)
class Serving:
    """`url` is where it listens, `ended` its task."""

    url: str
    server: Server
    ended: "asyncio.Task[None]"


@asynccontextmanager
async def serving(
    app: FastAPI, host: str = "127.0.0.1", *, trusted_proxies: str | None = None
) -> AsyncIterator[Serving]:
    """Serves on a free port of this machine, and ends as on SIGTERM."""
    ready = asyncio.Event()
    server = Server(app, host, 0, app.state.news.close, trusted_proxies=trusted_proxies)
    server.config.lifespan = "off"
    server.on_ready = ready.set
    task = asyncio.create_task(server.serve())
    try:
        await ready.wait()
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Serving(f"http://{f'[{host}]' if ':' in host else host}:{port}", server, task)
    finally:
        app.state.news.close()
        server.should_exit = True
        await task
