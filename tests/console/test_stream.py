"""Tests of app/console/routes/live.

The stream over a real connection: what a viewer receives, and that the process ends while it is open.
"""

import asyncio
import signal

import httpx
import pytest

from tests.api.service import open_service
from tests.console.browser import Browser
from tests.console.serving import serving

pytestmark = pytest.mark.anyio

ENDS_WITHIN_S = 5.0
"""Far below the 20 s after which the server would cut open connections."""


async def test_the_process_ends_at_once_while_streams_are_open(database_url: str) -> None:
    async with open_service(database_url) as service, serving(service.apps[0]) as served:
        async with httpx.AsyncClient(base_url=served.url, follow_redirects=True) as http:
            await Browser(http).sign_in(service.one.ops.api_key)
            async with http.stream("GET", "/console/live/stream") as stream:
                assert stream.headers["content-type"].startswith("text/event-stream")
                assert stream.headers["cache-control"] == "no-store"
                lines = stream.aiter_lines()
                while await anext(lines) != "event: update":
                    pass
                served.server.handle_exit(signal.SIGTERM, None)
                async with asyncio.timeout(ENDS_WITHIN_S):
                    rest = [line async for line in lines]
                    await served.ended
        assert "event: over" in rest
        boards = service.apps[0].state.boards
        assert not boards.of(service.context, service.one.operator.operator_id).viewers


async def test_a_viewer_that_leaves_is_no_longer_counted(database_url: str) -> None:
    async with open_service(database_url) as service, serving(service.apps[0]) as served:
        board = service.apps[0].state.boards.of(service.context, service.one.operator.operator_id)
        async with httpx.AsyncClient(base_url=served.url, follow_redirects=True) as http:
            await Browser(http).sign_in(service.one.ops.api_key)
            async with http.stream("GET", "/console/live/stream") as stream:
                lines = stream.aiter_lines()
                while await anext(lines) != "event: update":
                    pass
                assert len(board.viewers) == 1
        async with asyncio.timeout(ENDS_WITHIN_S):
            await asyncio.wait([board._task])
        assert not board.viewers
