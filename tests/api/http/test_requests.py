"""Tests of app/api/http/requests: writes that outlast their client."""

import asyncio

import pytest

from app.api.http import requests

pytestmark = pytest.mark.anyio


async def test_a_write_goes_on_when_its_client_is_gone() -> None:
    may_end, ended = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        await may_end.wait()
        ended.set()

    call = asyncio.create_task(requests.shielded(write()))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    may_end.set()
    async with asyncio.timeout(1):
        await ended.wait()


async def test_a_write_that_takes_too_long_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "WRITE_DEADLINE_S", 0.0)
    endless = asyncio.Event()
    with pytest.raises(TimeoutError):
        await requests.shielded(endless.wait())
