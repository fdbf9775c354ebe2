"""Draws the ratios to the usual way as one SVG picture: bars on a logarithmic scale, with a mark at each goal."""

from collections.abc import Iterable
from math import log10

from bench.report.rows import Row, Want
from bench.report.table import number

LEFT, WIDTH, ROW = 330, 430, 22
LEAST, MOST = 0.1, 100.0
MET, MISSED, OPEN = "#15803d", "#c2410c", "#1d4ed8"


def svg(rows: Iterable[Row]) -> str:
    """Rows that have a goal relative to the usual way; more is better."""
    shown = [row for row in rows if row.goal is not None and row.goal.want is Want.TIMES and row.ratio]
    lines, y = [], 62
    for row in shown:
        lines.append(_bar(row, y))
        y += ROW
    ticks = "".join(
        f'<path d="M{_x(value)} 40V{y - 8}" stroke="{"#737373" if value == 1 else "#d4d4d4"}"/>'
        f'<text x="{_x(value)}" y="{y + 8}" text-anchor="middle">{value:g} x</text>'
        for value in (0.1, 1.0, 10.0, 100.0)
    )
    title = '<text x="20" y="20">Times the usual way (1 x), median of the rounds; the mark is the goal</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 90} {y + 20}" font-family="sans-serif"'
        f' font-size="12"><rect width="100%" height="100%" fill="#fff"/>{title}{ticks}{"".join(lines)}</svg>\n'
    )


def _bar(row: Row, y: int) -> str:
    ratio, goal = row.ratio or LEAST, row.goal
    color = {True: MET, False: MISSED, None: OPEN}[row.met]
    begin, end = sorted((_x(1), _x(ratio)))
    mark = "" if goal is None else f'<path d="M{_x(goal.bound)} {y - 8}v16" stroke="#111" stroke-width="2"/>'
    return (
        f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{row.case}: {row.label}</text>'
        f'<rect x="{begin}" y="{y - 6}" width="{max(end - begin, 1):.1f}" height="12" fill="{color}"/>{mark}'
        f'<text x="{LEFT + WIDTH + 10}" y="{y + 4}">{number(row.ratio)} x</text>'
    )


def _x(value: float) -> float:
    """Logarithmic, from LEAST to MOST."""
    share = (log10(min(max(value, LEAST), MOST)) - log10(LEAST)) / (log10(MOST) - log10(LEAST))
    return round(LEFT + share * WIDTH, 1)
