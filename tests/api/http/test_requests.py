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
    with pytest.raises(TimeoutError):
        await requests.within_deadline(endless.wait())
    assert not (await asyncio.gather(asyncio.sleep(0), return_exceptions=True))[0], "it may be used again"


async def test_a_write_within_its_deadline_returns_what_it_made_and_is_cancelled_with_its_task() -> None:
    async def write() -> int:
        return 7

    assert await requests.within_deadline(write()) == 7
    call = asyncio.create_task(requests.within_deadline(asyncio.Event().wait()))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
