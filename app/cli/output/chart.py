"""Draws a session's cost over time in text. Under the amount that was authorized."""

import sys
from collections.abc import Sequence

from app.console.views.chart import Point, points_of
from app.domain.limit.policy import Policy
from app.domain.session.payment_session import PaymentSession
from app.domain.units.money import to_major
from app.store.sessions.journal import JournalEntry

HEIGHT = 6
"""Lines below the one of the limit."""
MOST_CELLS, LEAST_CELLS = 72, 20
BLOCKS = " ▁▂▃▄▅▆▇█"
STEPS = len(BLOCKS) - 1
IN_ASCII = str.maketrans("▁▂▃▄▅▆▇█┄│", "  .######-|"[1:])


def chart_lines(
    session: PaymentSession, lines: Sequence[JournalEntry], policy: Policy, columns: int
) -> list[str]:
    """The chart after an empty line, in at most this many columns. Empty: nothing has flowed.

    A cell shows the last cost that was known by the end of its time; without any price, the energy.
    """
    points = points_of(session, lines, policy)
    if len(points) < 2 or not points[-1].energy_wh:
        return []
    currency, priced = session.authorization.currency, any(point.cost_minor for point in points)
    most = session.authorized_minor if priced else max(session.energy_limit_wh or 0, points[-1].energy_wh)
    label = f"{to_major(most, currency):f} {currency}" if priced else f"{most / 1000:.1f} kWh"
    cells = max(LEAST_CELLS, min(MOST_CELLS, columns - len(label) - 2))
    levels = _levels(points, cells, most, priced=priced)
    margin = " " * len(label)
    drawn = [f"{margin} │{_row(levels, row)}".rstrip() for row in range(HEIGHT - 1, -1, -1)]
    times = f"{margin}  {points[0].at:%H:%M:%S}{f'{points[-1].at:%H:%M:%S}':>{cells - 8}}"
    found = ["", f"{label} {'┄' * (cells + 1)}", *drawn, times]
    if (sys.stdout.encoding or "").lower().startswith("utf"):
        return found
    return [line.translate(IN_ASCII) for line in found]


def _levels(points: Sequence[Point], cells: int, most: int, *, priced: bool) -> list[int]:
    """How high each cell is, in steps. Never empty once something was used, full only when all was."""
    first, span = points[0].at, points[-1].at - points[0].at
    levels, seen = [], 0
    for cell in range(1, cells + 1):
        while seen + 1 < len(points) and points[seen + 1].at <= first + span * cell / cells:
            seen += 1
        values = [(p.cost_minor if priced else p.energy_wh) or 0 for p in points[: seen + 1]]
        used = min(max(values), most)
        levels.append(max(used * HEIGHT * STEPS // most, 1 if used else 0))
    return levels


def _row(levels: Sequence[int], row: int) -> str:
    return "".join(BLOCKS[min(STEPS, max(0, level - row * STEPS))] for level in levels)
