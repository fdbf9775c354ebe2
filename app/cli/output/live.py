"""Shows sessions as they change. A table on a terminal, one line for each change elsewhere."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from app.cli.output.tables import (
    ENERGY_FROM,
    EVERY_COLUMN_FROM,
    WIDE,
    plain_table,
    session_cells,
    session_columns,
)
from app.domain.limit.policy import Policy
from app.domain.session.limit import amount_used_minor
from app.domain.session.payment_session import PaymentSession, Status
from app.domain.units.text_bar import bar

COLOURS = {
    Status.CHARGING: "green",
    Status.STOPPING: "yellow",
    Status.FINISHING: "yellow",
    Status.NOT_STARTED: "magenta",
}
LEAST_BAR, MOST_BAR = 5, 12
WITHOUT_BAR = 114
"""Columns that a row with all its columns takes at most, without the bar."""
LINES_AROUND = 4
"""Title, headings, what is left out, and the prompt."""


def is_terminal() -> bool:
    """Whether standard output can be redrawn."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


class LiveSessions:
    """The sessions as they were shown last. `policy` values them."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._versions: dict[str, int] = {}
        self._live: Live | None = None
        # NO_COLOR is respected by rich itself.
        self._console = Console(highlight=False, markup=False, emoji=False)

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Redraws in place on a terminal, without clearing it. The last picture stays."""
        if not is_terminal():
            yield
            return
        with Live(console=self._console, auto_refresh=False) as self._live:
            yield
        self._live = None

    def show(self, sessions: Sequence[PaymentSession], now: datetime) -> None:
        """Shows these sessions, the newest first."""
        if self._live is not None:
            self._live.update(self._table(sessions, now), refresh=True)
            return
        for session in reversed(sessions):
            if self._versions.get(session.id) != session.version:
                self._versions[session.id] = session.version
                cells = session_cells(session, self._policy, WIDE)
                print(f"{now:%Y-%m-%d %H:%M:%S}", *cells[1:], sep="  ", flush=True)

    def _table(self, sessions: Sequence[PaymentSession], now: datetime) -> Table:
        width, height = self._console.size
        lines = 1 if width >= ENERGY_FROM else 2
        fitting = sessions[: max(1, (height - LINES_AROUND) // lines)]
        running, needing = sum(not s.ended for s in sessions), sum(s.needs_attention for s in sessions)
        title = f"{now:%H:%M:%S} UTC  {running} running, {needing} need attention"
        if len(fitting) < len(sessions):
            title += f", {len(sessions) - len(fitting)} older ones below"
        left = width - 1 - (WITHOUT_BAR if width >= EVERY_COLUMN_FROM else ENERGY_FROM)
        barred = left >= LEAST_BAR
        table = plain_table(*session_columns(width), *([""] if barred else []), gap=1)
        table.title, table.title_justify = title, "left"
        for session in fitting:
            colour = "red" if session.needs_attention else COLOURS.get(session.status, "")
            row = [Text(cell, colour) for cell in session_cells(session, self._policy, width)]
            table.add_row(*row, *([self._bar(session, min(left, MOST_BAR))] if barred else []))
        return table

    def _bar(self, session: PaymentSession, cells: int) -> str:
        ascii_only = not (self._console.encoding or "").lower().startswith("utf")
        used = amount_used_minor(session, self._policy)
        return bar(used, session.authorized_minor, cells, ascii_only=ascii_only)
