"""Tests of app/console/session_stream.

A session's page while one looks: what changed is sent, once, to those who may see it; it ends with the session.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest

from app.console import session_stream as module
from app.console.session_stream import SessionPage
from app.console.views.session import PARTS
from app.domain.units.ids import SessionId
from app.flows.console.session import AWAITED, SessionRead, read_session
from app.flows.console.sign_in import sign_in, still_signed_in
from tests.api.service import LOOK, Service, open_service, wait
from tests.console.accessibility import check
from tests.console.browser import Browser, opened
from tests.console.html import parsed
from tests.console.serving import serving
from tests.postgres import as_superuser

pytestmark = pytest.mark.anyio

Json = dict[str, Any]
CHECKS = 20
"""Looks at who is signed in, while nothing changes."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Updates may follow each other at once, so that no test waits for seconds."""
    monkeypatch.setattr(module, "EVERY_S", 0.01)


def shown(read: SessionRead, after: int) -> SessionPage:
    return SessionPage(parts={"head": str(read.version)}, lines="", last_line=1, told="")


class Watched:
    """The events of one open page."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    async def next(self) -> tuple[str, Json]:
        """The next event; comments and settings are skipped."""
        name = ""
        async for line in self._lines:
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                return name, json.loads(line.removeprefix("data: "))
        raise AssertionError("the stream has ended")

    async def update(self) -> Json:
        name, update = await self.next()
        assert name == "update"
        return update


@asynccontextmanager
async def watched(http: httpx.AsyncClient, session_id: str, after: int = 0) -> AsyncIterator[Watched]:
    async with http.stream("GET", f"/console/sessions/{session_id}/stream?after={after}") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        yield Watched(stream.aiter_lines())


@asynccontextmanager
async def looking(database_url: str) -> AsyncIterator[tuple[Service, Browser]]:
    """A service with a real server and notifications, and somebody who is signed in."""
    async with (
        open_service(database_url, listening=True) as service,
        serving(service.apps[0]) as served,
        httpx.AsyncClient(base_url=served.url, follow_redirects=True) as http,
    ):
        browser = Browser(http)
        await browser.sign_in(service.one.ops.api_key)
        yield service, browser


async def acknowledge(browser: Browser, session_id: str) -> None:
    """Acknowledges the item `other` on the session's page."""
    page = await browser.get(f"/console/sessions/{session_id}")
    form = next(form for form in page.all("form") if form.all("input", name="code", value="other"))
    await browser.send(form, {"reason": "seen"})


async def test_what_changed_is_sent_until_the_capture_is_reported(database_url: str) -> None:
    async with looking(database_url) as (service, browser):
        session = await service.authorize()
        page = await browser.get(f"/console/sessions/{session['id']}")
        check(page)
        assert {
            node.attributes["data-part"] for node in page.all("div") if "data-part" in node.attributes
        } == set(PARTS)
        last = int(page.one("table", id="timeline").attributes["data-line"])
        async with watched(browser.http, session["id"], last) as stream:
            first = await stream.update()
            assert set(first["parts"]) == set(PARTS)
            assert (first["lines"], first["told"]) == ("", "")
            await service.charging(session["id"], "77", energy_wh=1500)
            charging = await stream.update()
            assert {"head", "amounts", "facts"} <= set(charging["parts"])
            assert "1.50 kWh" in charging["parts"]["amounts"]
            assert "notices" not in charging["parts"]
            await service.change(session["id"], attention=LOOK)
            noticed = await stream.update()
            assert parsed(noticed["parts"]["notices"]).one("h2").text == "other"
            assert "amounts" not in noticed["parts"]
            await acknowledge(browser, session["id"])
            noted = await stream.update()
            (line,) = parsed(noted["lines"]).all("tr")
            assert "attention acknowledged" in line.text
            assert noted["told"] == "attention acknowledged: other"
            await service.settle(session["id"], 700)
            assert "7.00 EUR" in (await stream.update())["parts"]["amounts"]
            report = {"outcome": "captured", "amount": 700, "reference": "P-1"}
            await service.call("POST", f"/v1/payment-sessions/{session['id']}/captures", report)
            report |= {"outcome": "released", "amount": 4300, "reference": "P-2"}
            await service.call("POST", f"/v1/payment-sessions/{session['id']}/captures", report)
            final: Json = {}
            while (event := await stream.next())[0] == "update":
                final = event[1]
            assert event[0] == "done"
            assert "confirmed" in final["parts"]["amounts"]


async def test_a_page_that_comes_back_gets_the_lines_that_it_missed(database_url: str) -> None:
    async with looking(database_url) as (service, browser):
        session = await service.authorize()
        page = await browser.get(f"/console/sessions/{session['id']}")
        last = page.one("table", id="timeline").attributes["data-line"]
        await service.change(session["id"], attention=LOOK)
        await acknowledge(browser, session["id"])
        where = f"/console/sessions/{session['id']}/stream?after=999"
        async with browser.http.stream("GET", where, headers={"Last-Event-ID": last}) as stream:
            missed = await Watched(stream.aiter_lines()).update()
        assert len(parsed(missed["lines"]).all("tr")) == 1


async def test_a_session_that_is_over_has_no_stream(database_url: str) -> None:
    async with looking(database_url) as (service, browser):
        session = await service.authorize()
        await service.settle(session["id"], 700)
        await wait(service, AWAITED)
        page = await browser.get(f"/console/sessions/{session['id']}")
        check(page)
        assert not page.all("script")
        assert "The session is over" in page.text
        line = page.one("table", id="timeline").attributes["data-line"]
        answer = await browser.http.get(f"/console/sessions/{session['id']}/stream?after={line}")
        assert answer.content == module.DONE


async def test_a_stream_ends_with_the_sign_out_and_sends_nothing_afterwards(database_url: str) -> None:
    async with looking(database_url) as (service, browser):
        session = await service.authorize()
        async with watched(browser.http, session["id"]) as stream:
            await stream.update()
            page = await browser.get("/console")
            await browser.send(page.one("form", action="/console/sign-out"))
            while (name := (await stream.next())[0]) == "away":
                pass
            assert name == "over"


async def test_a_key_of_another_operator_gets_no_stream(kept_apart: str) -> None:
    async with open_service(kept_apart) as service, opened(service.apps[0]) as browser:
        session = await service.authorize()
        await browser.sign_in(service.other.ops.api_key)
        assert (await browser.http.get(f"/console/sessions/{session['id']}/stream")).status_code == 404


async def test_viewers_cost_no_query_each_while_nothing_changes(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[str] = Counter()
    looked = asyncio.Event()

    async def counted_read(*given: Any) -> Any:
        asked["read"] += 1
        return await read_session(*given)

    async def counted_check(*given: Any) -> Any:
        asked["check"] += 1
        if asked["check"] == CHECKS:
            looked.set()
        return await still_signed_in(*given)

    monkeypatch.setattr(module, "read_session", counted_read)
    monkeypatch.setattr(module, "still_signed_in", counted_check)
    async with open_service(database_url) as service:
        session, streams = await service.authorize(), service.apps[0].state.session_streams
        news = service.apps[0].state.news
        signed_in = await sign_in(service.context, service.one.ops.api_key)
        assert signed_in is not None
        who = module.Looking(
            session_id=SessionId(session["id"]),
            operator_id=None,
            key_id=signed_in.key.id,
            token=signed_in.token,
        )
        pages = [streams.watch(service.context, who, shown, 0, news) for _ in range(5)]
        for page in pages:
            assert await anext(page) == module.RETRY
            assert (await anext(page)).startswith(b"id: 1")
        pending = [asyncio.ensure_future(anext(page)) for page in pages]
        asked.clear()
        await looked.wait()
        assert asked["check"] == CHECKS, "one for all viewers"
        assert asked["read"] <= len(pages), "one each, before it waits"
        news.close()
        assert set(await asyncio.gather(*pending)) <= {module.QUIET, module.OVER}
        for page in pages:
            await page.aclose()


async def test_a_viewer_is_told_when_the_database_fails_and_goes_on_afterwards(database_url: str) -> None:
    async with looking(database_url) as (service, browser):
        session = await service.authorize()
        async with watched(browser.http, session["id"]) as stream:
            await stream.update()
            admin = await asyncpg.connect(as_superuser(database_url))
            await admin.execute("REVOKE SELECT ON journal FROM tapwatt_service")
            try:
                service.apps[0].state.news.notify(session["id"])
                assert await stream.next() == ("away", {})
            finally:
                await admin.execute("GRANT SELECT ON journal TO tapwatt_service")
                await admin.close()
            await service.charging(session["id"], "77", energy_wh=1500)
            while (event := await stream.next())[0] == "away":
                pass
            assert "1.50 kWh" in event[1]["parts"]["amounts"]
