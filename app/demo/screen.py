"""Shows the demo: a live table, or plain lines. A table on a terminal, lines elsewhere, and the closing table."""

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from app.clock import monotonic_s
from app.demo.audit import Account
from app.demo.stories import CURRENCY, Story
from app.demo.terminals import SessionUpdate
from app.demo.wording import UNREMARKABLE, in_words, kwh, money
from app.domain.session.payment_session import Status
from app.domain.session.states.journal import JournalKind
from app.domain.units.text_bar import bar

REDRAWS_PER_S = 8
PLAIN_WIDTH = 120
WRONG = "WRONG"
WIDE, EVENTS_FROM = 110, 72
BARS = {"wide": 24, "usual": 8, "narrow": 5}
COLOURS = {
    Status.AUTHORIZED: "cyan",
    Status.STARTING: "cyan",
    Status.CHARGING: "green",
    Status.STOPPING: "yellow",
    Status.FINISHING: "yellow",
    Status.COMPLETED: "bold green",
    Status.NOT_STARTED: "bold magenta",
}


class Screen:
    """Shows updates of sessions. Real seconds times `speed` are the demo's."""

    def __init__(self, stories: Sequence[Story], speed: float) -> None:
        self._stories = stories
        self._speed = speed
        self._news: dict[str, SessionUpdate] = {}
        self._lines_shown: dict[str, int] = {}
        self._began = monotonic_s()
        self._live: Live | None = None
        on_terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")
        width = None if on_terminal else PLAIN_WIDTH
        self.console = Console(
            width=width, force_terminal=on_terminal, highlight=False, markup=False, emoji=False
        )
        self._animated = on_terminal
        self._ascii = not (self.console.encoding or "").lower().startswith("utf")

    def say(self, text: str) -> None:
        """Prints a line that stays and can be copied. It is never wrapped."""
        self.console.print(text, soft_wrap=True)

    def step(self, what: str) -> None:
        """Prints a step of the setup with the seconds since the beginning."""
        self.say(f"{monotonic_s() - self._began:5.1f} s  {what}")

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Starts the demo's clock, and a live table on a terminal."""
        self._began = monotonic_s()
        if not self._animated:
            yield
            return
        with Live(console=self.console, auto_refresh=False, get_renderable=self._table) as self._live:
            yield
            self._live.refresh()
        self._live = None

    async def keep_drawing(self) -> None:
        """Redraws endlessly; returns never, and does nothing where lines are printed."""
        while True:
            if self._live is not None:
                self._live.refresh()
            await asyncio.sleep(1 / REDRAWS_PER_S)

    def update(self, news: SessionUpdate) -> None:
        """Shows that a session has changed."""
        before = self._news.get(news.story.charge_point_id)
        self._news[news.story.charge_point_id] = news
        if not self._animated:
            self._print_change(news, before)

    def _print_change(self, news: SessionUpdate, before: SessionUpdate | None) -> None:
        shown = self._lines_shown.get(news.session.id, 0)
        self._lines_shown[news.session.id] = max(shown, len(news.journal))
        remarkable = [
            in_words(line.kind, line.source, line.detail)
            for line in news.journal[shown:]
            if line.kind not in UNREMARKABLE
        ]
        if not remarkable and before is not None and before.session.status is news.session.status:
            return
        session = news.session
        used = f"{money(session.amount_used):>6} of {money(session.amount_authorized)}"
        text = f"{self._clock()}  {news.story.charge_point_id} {news.story.title:<17}  {session.status:<11}"
        self.say(f"{text}  {used}  {kwh(session.energy_wh):>5} kWh  {', '.join(remarkable)}".rstrip())

    def _clock(self) -> str:
        seconds = int((monotonic_s() - self._began) * self._speed)
        return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"

    def _table(self) -> Table:
        width = self.console.width
        table = Table(
            title=f"{self._clock()} on the demo's clock, {self._speed:g} times faster than real time",
            title_style="italic",
            title_justify="left",
            box=None,
            padding=(0, 1, 0, 0),
            expand=True,
        )
        cells = BARS["wide"] if width >= WIDE else BARS["usual"] if width >= EVENTS_FROM else BARS["narrow"]
        table.add_column("Session", no_wrap=True, min_width=21)
        table.add_column("used / authorized", no_wrap=True, min_width=cells + 12)
        table.add_column("kWh", no_wrap=True, justify="right", min_width=4)
        table.add_column("State", no_wrap=True, min_width=11)
        if width >= EVENTS_FROM:
            table.add_column("Last event", no_wrap=True, overflow="ellipsis", ratio=1)
        for story in self._stories:
            row = self._row(story, cells)
            table.add_row(*row[: len(table.columns)])
        return table

    def _row(self, story: Story, cells: int) -> list[Text]:
        name = Text(f"{story.charge_point_id} {story.title}")
        news = self._news.get(story.charge_point_id)
        if news is None:
            empty = bar(0, 1, cells, ascii_only=self._ascii)
            return [name, Text(f"{empty}       {money(story.amount_minor)}", "dim"), Text(), Text(), Text()]
        session = news.session
        used = Text(
            bar(session.amount_used, session.amount_authorized, cells, ascii_only=self._ascii), "green"
        )
        used.append(f" {money(session.amount_used):>5}/{money(session.amount_authorized)}", "default")
        state = Text(session.status.replace("_", " "), COLOURS[session.status])
        return [name, used, Text(kwh(session.energy_wh)), state, Text(_last_event(news))]


def _last_event(news: SessionUpdate) -> str:
    lines = [line for line in news.journal if line.kind != JournalKind.STATUS_CHANGED]
    return in_words(lines[-1].kind, lines[-1].source, lines[-1].detail) if lines else ""


def closing_table(accounts: Sequence[Account]) -> Table:
    """Builds the table of every session's money, in major units."""
    table = Table(box=None, padding=(0, 1, 0, 0), title=f"In {CURRENCY}", title_justify="left")
    table.add_column("Session", no_wrap=True)
    for heading in ("authorized", "= captured", "+ released", "Monta's price", "POSTs"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, min_width=len(WRONG))
    for account in accounts:
        good = not any(account.problems())
        table.add_row(
            f"{account.story.charge_point_id} {account.story.title}",
            money(account.session.amount_authorized),
            money(account.captured),
            money(account.released),
            f"{account.monta_price:.2f}",
            str(account.posts),
            Text("ok", "green") if good else Text(WRONG, "bold red"),
        )
    return table


def verdict(accounts: Sequence[Account]) -> list[str]:
    """Returns every problem, each with its session; empty when all adds up."""
    return [
        f"{account.story.charge_point_id} {account.story.title} ({account.session.id}): {problem}"
        for account in accounts
        for problem in account.problems()
    ]
