"""Tests of app/console.

The console in chromium: signing in, rows that change while one looks, acting. Skipped without chromium.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from tests.console.browser import CHROMIUM
from tests.console.serving import serving
from tests.journeys.checks import ended
from tests.journeys.rig import energy_tariff, open_rig

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        CHROMIUM is None,
        reason="no chromium on this machine: apt-get install chromium, or any that is on the PATH",
    ),
]
SHOWN_WITHIN_MS = 10_000
NARROW = 320
"""A small phone, and a window of 640 at a zoom of 200 %: WCAG 1.4.10."""


STREAMS = re.compile(r"/stream(\?|$)")
MEANT = "status of 502"
"""A test answers so on purpose."""


def _note(errors: list[str], error: str) -> None:
    if MEANT not in error:
        errors.append(error)


@pytest.fixture(scope="module")
async def chromium(anyio_backend: object) -> "AsyncIterator[Browser]":
    """The browser of this file. To start it takes longer than most tests; each has its own context, as a new one."""
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@asynccontextmanager
async def opened(chromium: "Browser", url: str, *, width: int = 1280) -> "AsyncIterator[Page]":
    """A page without cookies; fails at the end when the page reported any error, such as a blocked script."""
    errors: list[str] = []
    context = await chromium.new_context(
        base_url=url, color_scheme="light", viewport={"width": width, "height": 800}
    )
    page = await context.new_page()
    page.set_default_timeout(SHOWN_WITHIN_MS)
    page.on("console", lambda message: _note(errors, message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        yield page
    finally:
        await context.close()
    assert not errors


async def sign_in(page: "Page", key: str) -> None:
    await page.goto("/console")
    await page.fill("#key", key)
    await page.press("#key", "Enter")
    await page.wait_for_selector("#stream-state:has-text('Live')")


async def test_rows_come_change_and_stay_in_place(
    chromium: "Browser", database_url: str, tmp_path: Path
) -> None:
    async with (
        open_rig(database_url) as rig,
        serving(rig.app) as served,
        opened(chromium, served.url) as page,
    ):
        await rig.set_tariff(energy_tariff("0.79"))
        await sign_in(page, rig.ops.api_key)
        assert await page.is_visible("#none")
        session = await rig.authorize(106, 2000)
        row = f"tr[data-id='{session['id']}']"
        await page.wait_for_selector(row)
        await page.evaluate("row => { document.querySelector(row).marked = true; }", row)
        await rig.until(session["id"], "charging")
        await rig.pass_time(120)
        await page.wait_for_selector(f"{row} [data-f=status]:has-text('charging')")
        now = await rig.ops_session(session["id"])
        energy = f"{now['energy_wh'] / 1000:.2f}"
        await page.wait_for_selector(f"{row} [data-f=energy]:has-text('{energy}')")
        assert await page.evaluate("row => document.querySelector(row).marked", row), "the same row, patched"
        assert await page.get_attribute(f"{row} progress", "max") == "2000"
        assert await page.inner_text("[data-tile=charging]") == "1"
        await page.screenshot(path=tmp_path / "live.png")


async def test_a_sessions_page_changes_under_a_person_who_acts(
    chromium: "Browser", database_url: str, tmp_path: Path
) -> None:
    async with (
        open_rig(database_url) as rig,
        serving(rig.app) as served,
        opened(chromium, served.url) as page,
    ):
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 2000)
        await rig.until(session["id"], "charging")
        await sign_in(page, rig.ops.api_key)
        await page.click(f"tr[data-id='{session['id']}'] a")
        await page.wait_for_selector("#stream-state:has-text('Live')")
        await page.evaluate("() => { document.querySelector('svg.chart').marked = true; }")
        await page.click("#timeline summary >> nth=0")
        await page.click("summary:has-text('Stop the charge')")
        await page.fill("#stop-reason", "cable is hot")
        scrolled = await page.evaluate("() => { scrollTo(0, 200); return scrollY; }")
        await rig.pass_time(60)
        energy = f"{(await rig.ops_session(session['id']))['energy_wh'] / 1000:.2f} kWh"
        await page.wait_for_selector(f"[data-part=amounts] dd:has-text('{energy}')")
        kept = await page.evaluate(
            "() => [document.activeElement.id, document.activeElement.value, scrollY,"
            " document.querySelector('#timeline details').open, document.querySelector('svg.chart').marked]"
        )
        assert kept == ["stop-reason", "cable is hot", scrolled, True, True], "an update moves nothing"
        await page.screenshot(path=tmp_path / "running.png")
        await page.click("button:has-text('Stop the charge')")
        assert "The stop is requested" in await page.inner_text(".notice.done")
        await page.wait_for_selector("#stream-state:has-text('Live')")
        last = await ended(rig, session)
        assert last["stop_reason"] == "operations"
        await page.wait_for_selector("[data-part=head] .badge:has-text('completed')")
        await page.wait_for_selector("#timeline th:has-text('settlement decided')")
        assert "status changed" in (await page.text_content("#told") or "")
        assert not await page.is_visible("summary:has-text('Stop the charge')")
        await page.screenshot(path=tmp_path / "session.png", full_page=True)


async def test_a_stream_that_fails_says_so_and_begins_again(chromium: "Browser", database_url: str) -> None:
    async with (
        open_rig(database_url) as rig,
        serving(rig.app) as served,
        opened(chromium, served.url) as page,
    ):
        session = await rig.authorize(106, 2000)
        await sign_in(page, rig.ops.api_key)
        await page.clock.install()
        for path in ("", f"/sessions/{session['id']}"):
            await page.route(STREAMS, lambda route: route.fulfill(status=502))
            await page.goto(f"/console{path}")
            await page.wait_for_selector("#stream-state:has-text('No updates: the service is away')")
            await page.unroute(STREAMS)
            await page.clock.fast_forward(10_000)
            await page.wait_for_selector("#stream-state:text-is('Live')")


async def test_the_keyboard_reaches_everything_and_its_focus_is_seen(
    chromium: "Browser", database_url: str
) -> None:
    async with (
        open_rig(database_url) as rig,
        serving(rig.app) as served,
        opened(chromium, served.url) as page,
    ):
        await sign_in(page, rig.ops.api_key)
        seen = []
        for _ in range(9):
            await page.keyboard.press("Tab")
            seen.append(
                await page.evaluate(
                    "() => [document.activeElement.textContent.trim(),"
                    " getComputedStyle(document.activeElement).outlineStyle]"
                )
            )
        assert [text for text, _ in seen[:7]] == [
            "Skip to the contents",
            "Tapwatt",
            "Live",
            "Search",
            "Money",
            "Terminals",
            "Health",
        ]
        assert {outline for _, outline in seen} == {"solid"}
        await page.focus("#pause")
        await page.keyboard.press("Enter")
        assert await page.get_attribute("#pause", "aria-pressed") == "true"
        assert await page.inner_text("#stream-state") == "Paused"


GROUNDS: "dict[Literal['light', 'dark'], str]" = {"light": "rgb(246, 247, 248)", "dark": "rgb(18, 23, 28)"}


async def test_pages_fit_a_phone_in_both_themes(
    chromium: "Browser", database_url: str, tmp_path: Path
) -> None:
    async with (
        open_rig(database_url) as rig,
        serving(rig.app) as served,
        opened(chromium, served.url, width=NARROW) as page,
    ):
        await rig.set_tariff(energy_tariff("0.79"))
        session = await rig.authorize(106, 2000)
        await ended(rig, session)
        await sign_in(page, rig.ops.api_key)
        for path in ("", "/search", "/money", "/equipment", "/health", f"/sessions/{session['id']}"):
            await page.goto(f"/console{path}")
            for theme, expected in GROUNDS.items():
                await page.emulate_media(color_scheme=theme)
                ground = await page.evaluate("() => getComputedStyle(document.body).backgroundColor")
                assert ground == expected, f"{path} in {theme}"
                wide = await page.evaluate("() => document.documentElement.scrollWidth")
                assert wide <= NARROW, f"{path} in {theme} is {wide} wide"
        for theme in GROUNDS:
            await page.emulate_media(color_scheme=theme)
            await page.screenshot(path=tmp_path / f"phone-{theme}.png", full_page=True)
