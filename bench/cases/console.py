"""The console's page Live with many running sessions: the service's CPU, bytes to each viewer, a browser's work."""

import asyncio
import re
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx

from bench.report.rows import TAPWATT, Goal, Want
from bench.rig.rig import Rig
from bench.rig.tapwatt import FAST, NAME

CASE = "console"
MOST_SESSIONS = 1_000
VIEWERS = 20
CHANGED = 50
"""Sessions that change each second."""
SHARE = 5
"""A window lasts this many times as long as those of other cases, since a page is refreshed once a second."""
AMOUNT = 50_000
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
_CHANGE = "UPDATE kept_readings SET count = count + 1 WHERE session_id = ANY($1::text[])"
"""As one more reading that decides nothing: most readings are such."""
_TASKS = ("TaskDuration", "LayoutDuration", "ScriptDuration")


@dataclass(slots=True)
class Looking:
    """One open stream: what it has received."""

    received: int = 0
    events: int = 0

    async def read(self, http: httpx.AsyncClient, path: str) -> None:
        async with http.stream("GET", path, timeout=None) as stream:
            if stream.status_code != 200:
                raise RuntimeError(f"GET {path}: {stream.status_code}")
            async for part in stream.aiter_raw():
                self.received += len(part)
                self.events += part.count(b"event: update")


async def run(rig: Rig) -> None:
    await rig.forget_sessions()
    running = await rig.tapwatt.running(FAST, AMOUNT)
    count = min(rig.scale.sessions, MOST_SESSIONS)
    rig.tapwatt.watcher.stop()  # the only changes are ours
    await rig.copy(running.original, count, without=("journal",))
    await rig.settle(TAPWATT)
    ids = [running.original.session(number) for number in range(count)]
    label = f"{count:,} sessions"
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=rig.tapwatt.url, limits=limits, trust_env=False) as http:
        await _sign_in(http, rig.tapwatt.ops_key)
        for _ in range(rig.scale.long_rounds):
            await _page(rig, http, label)
            await _streams(rig, http, label, ids, 0)
            await _streams(rig, http, label, ids, CHANGED)
    await _browser(rig, label, ids)
    await rig.forget_sessions()
    rig.tapwatt.start_watcher()


async def _sign_in(http: httpx.AsyncClient, key: str) -> None:
    form = await http.get("/console/sign-in")
    (csrf,) = re.findall(r'name="csrf" value="([^"]+)"', form.text)
    answer = await http.post("/console/sign-in", data={"csrf": csrf, "next": "/console", "key": key})
    if answer.status_code != 303:
        raise RuntimeError(f"signing in: {answer.status_code}")


async def _page(rig: Rig, http: httpx.AsyncClient, label: str) -> None:
    """The page as a whole, once."""
    with rig.measured(TAPWATT) as window:
        answer = await http.get("/console")
    rig.rows.row(CASE, f"{label}: the page", "kB").add(TAPWATT, len(answer.content) / 1000, window.cpu_us(1))


async def _streams(rig: Rig, http: httpx.AsyncClient, label: str, ids: list[str], changed: int) -> None:
    """Streams of VIEWERS while `changed` sessions a second change. The CPU is that of the service, for all of them."""
    pages = [Looking() for _ in range(VIEWERS)]
    tasks = [asyncio.create_task(page.read(http, "/console/live/stream")) for page in pages]
    try:
        while not all(page.events > 1 for page in pages):  # the first one, with all rows, has arrived
            await _alive(tasks)
        async with _changing(rig, ids, changed):
            await asyncio.sleep(1)
            before = sum(page.received for page in pages)
            with rig.measured(TAPWATT) as window:
                await asyncio.sleep(SHARE * rig.scale.seconds)
            received = sum(page.received for page in pages) - before
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    what = f"{label}, {changed} change a second" if changed else f"{label}, nothing changes"
    cpu = rig.rows.row(CASE, f"{what}: service, {VIEWERS} viewers", "ms CPU/s", Goal(Want.MOST, 100))
    cpu.add(TAPWATT, 1000 * window.cpu_s["service"] / window.seconds)
    each = rig.rows.row(CASE, f"{what}: to each viewer", "kB/s")
    each.add(TAPWATT, received / VIEWERS / 1000 / window.seconds)


async def _alive(tasks: "list[asyncio.Task[None]]") -> None:
    """Waits a moment. Raises what ended a stream."""
    done, _ = await asyncio.wait(tasks, timeout=0.05)
    for task in done:
        task.result()


@asynccontextmanager
async def _changing(rig: Rig, ids: list[str], changed: int) -> AsyncIterator[None]:
    """Changes the next sessions each second, in the database alone: what makes them change is measured elsewhere."""
    connection = await rig.database.connect(NAME)
    task = asyncio.create_task(_change(connection, ids, changed))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await connection.close()


async def _change(connection: Any, ids: list[str], changed: int) -> None:
    at = 0
    while changed:
        await connection.execute(_CHANGE, [ids[(at + n) % len(ids)] for n in range(changed)])
        at += changed
        await asyncio.sleep(1)


async def _browser(rig: Rig, label: str, ids: list[str]) -> None:
    """What chromium's page does meanwhile, where chromium and playwright are there."""
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        return
    if CHROMIUM is None:
        return
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": 1280, "height": 800})
        await page.goto(f"{rig.tapwatt.url}/console")
        await page.fill("#key", rig.tapwatt.ops_key)
        await page.press("#key", "Enter")
        await page.wait_for_selector("#stream-state:has-text('Live')")
        devtools = await page.context.new_cdp_session(page)
        await devtools.send("Performance.enable")
        async with _changing(rig, ids, CHANGED):
            await asyncio.sleep(1)
            before, began = await _work(devtools), time.monotonic()
            await asyncio.sleep(SHARE * rig.scale.seconds)
            after, seconds = await _work(devtools), time.monotonic() - began
        await browser.close()
    for name in _TASKS:
        what = f"{label}, {CHANGED} change a second: browser, {name.removesuffix('Duration').lower()}"
        rig.rows.row(CASE, what, "ms/s").add(TAPWATT, 1000 * (after[name] - before[name]) / seconds)


async def _work(devtools: Any) -> dict[str, float]:
    """Seconds that the page has worked so far, by chromium's own count."""
    found = (await devtools.send("Performance.getMetrics"))["metrics"]
    return {each["name"]: each["value"] for each in found if each["name"] in _TASKS}
