"""Takes the pictures of docs/console.md again: `python -m tests.console.pictures [FOLDER]`.

Starts the demo's own processes on their fast clock, plays terminals at their charge points, and needs chromium and
playwright. Takes two minutes.
"""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import httpx
from playwright.sync_api import sync_playwright

from app.demo.interrupts import Interrupts
from app.demo.setup import Installation, set_up
from app.demo.stories import CURRENCY, STORIES
from tests.console.browser import CHROMIUM
from tests.postgres import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FOLDER = ROOT / "docs" / "pictures"
SPEED = 60
WIDTH, HEIGHT, TALLEST = 1180, 760, 1400
PHONE = 390
MOST_BYTES = 300_000
WAIT_S = 90.0
POLL_S = 0.5

EARLIER = (("103", 700), ("907", 2500), ("901", 2000))
"""Charge points and amounts of sessions that have ended when the pictures are taken: the first by its limit."""
RUNNING = (("105", 6000), ("910", 9000), ("903", 9000), ("103", 3500), ("907", 2500))
LATER_S = 8.0
"""How long the running ones have run, by our clock."""


def main(folder: Path) -> None:
    """Plays the sessions and writes all pictures."""
    interrupts = Interrupts()
    points = {story.charge_point_id for story in STORIES}
    with interrupts.caught(), set_up(SPEED, interrupts, print, points=points) as demo:
        terminal = _terminal(demo)
        earlier = [_tap(terminal, number, *tap) for number, tap in enumerate(EARLIER)]
        for session in earlier:
            _until_over(terminal, session)
        _report(terminal, earlier[1])
        for number, tap in enumerate(RUNNING, start=len(EARLIER)):
            _tap(terminal, number, *tap)
            time.sleep(LATER_S / len(RUNNING))
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            _take(browser, demo, earlier[0]["id"], folder)
            browser.close()


def _terminal(demo: Installation) -> httpx.Client:
    headers = {"Authorization": f"Bearer {demo.terminal_key}"}
    return httpx.Client(base_url=f"{demo.api_url}/v1", headers=headers, timeout=60, trust_env=False)


def _tap(terminal: httpx.Client, number: int, point: str, amount: int) -> dict[str, Any]:
    held = {"reference": f"TAP-{number + 1}", "amount": amount, "currency": CURRENCY}
    card = {"card": {"brand": "visa", "last4": "4242"}}
    body = {"charge_point_id": point, "authorization": held | card}
    answer = terminal.post("/payment-sessions", json=body)
    answer.raise_for_status()
    made: dict[str, Any] = answer.json()
    return made


def _until_over(terminal: httpx.Client, session: dict[str, Any]) -> None:
    """Waits until a session is settled, and fills its newest state in."""
    give_up_at = time.monotonic() + WAIT_S
    while time.monotonic() < give_up_at:
        session.update(terminal.get(f"/payment-sessions/{session['id']}").json())
        if session["settlement"] is not None:
            return
        time.sleep(POLL_S)
    raise TimeoutError(f"{session['display_reference']} is not settled after {WAIT_S:.0f} s")


def _report(terminal: httpx.Client, session: dict[str, Any]) -> None:
    """Captures as the terminal is told."""
    settled = session["settlement"]
    for outcome, what in (("captured", "amount_to_capture"), ("released", "amount_to_release")):
        report = {"outcome": outcome, "amount": settled[what], "reference": f"PSP-{outcome}"}
        terminal.post(f"/payment-sessions/{session['id']}/captures", json=report).raise_for_status()


def _take(browser: "Browser", demo: Installation, stopped: str, folder: Path) -> None:
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    page.goto(f"{demo.api_url}/console")
    page.fill("#key", demo.ops_key)
    page.press("#key", "Enter")
    _live(page)
    _save(page, folder / "console-live.png")
    signed_in = page.context.storage_state()
    views: tuple[tuple[str, Literal["dark", "light"], int], ...] = (
        ("live-dark", "dark", WIDTH),
        ("phone", "light", PHONE),
    )
    for name, scheme, width in views:
        other = browser.new_context(
            color_scheme=scheme, viewport={"width": width, "height": HEIGHT}, storage_state=signed_in
        ).new_page()
        other.goto(f"{demo.api_url}/console")
        _live(other)
        _save(other, folder / f"console-{name}.png")
        other.close()
    pages = {name: f"/{name}" for name in ("search", "money", "equipment", "health", "sign-ins", "runbook")}
    for name, path in (pages | {"session": f"/sessions/{stopped}"}).items():
        page.goto(f"{demo.api_url}/console{path}")
        _save(page, folder / f"console-{name}.png")


def _live(page: "Page") -> None:
    page.wait_for_selector("#stream-state:has-text('Live')")


def _save(page: "Page", file: Path) -> None:
    """Takes the whole page, TALLEST at most. Fails above MOST_BYTES."""
    wide = page.evaluate("() => innerWidth")
    tall = min(TALLEST, page.evaluate("() => document.documentElement.scrollHeight"))
    page.screenshot(path=file, full_page=True, clip={"x": 0, "y": 0, "width": wide, "height": tall})
    size = file.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"{file.name} has {size} bytes, more than {MOST_BYTES}")
    sys.stdout.write(f"{file.name}: {size // 1000} kB\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
