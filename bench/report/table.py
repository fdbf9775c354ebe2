"""The tables as plain text, as JSON, and beside an earlier run."""

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any, TypeAlias

from bench.report.rows import SYSTEMS, TAPWATT, Row, Rows

Line: TypeAlias = "tuple[str, ...]"

HEADS: Line = ("case", "", "unit", "usual", "Tapwatt", "(min..max)", "ceiling", "ratio", "goal", "met")


def number(value: float | None) -> str:
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def figures(rows: Iterable[Row]) -> list[Line]:
    """One line a row, medians with the spread of ours."""
    lines: list[Line] = [HEADS]
    for row in rows:
        usual, ours, ceiling = (row.figure(system) for system in SYSTEMS)
        samples = row.samples.get(TAPWATT, [])
        spread = f"{number(min(samples))}..{number(max(samples))}" if len(samples) > 1 else ""
        ratio = f"{number(row.ratio)} x" if row.ratio is not None else ""
        met = {True: "yes", False: "NO", None: ""}[row.met]
        goal = str(row.goal) if row.goal else ""
        lines.append(
            (
                row.case,
                row.label,
                row.unit,
                number(usual),
                number(ours),
                spread,
                number(ceiling),
                ratio,
                goal,
                met,
            )
        )
    return lines


def cpu(rows: Iterable[Row]) -> list[Line]:
    """Microseconds of CPU for each unit, by part."""
    lines: list[Line] = [("case", "", "of", "service us", "watcher us", "PostgreSQL us", "all us")]
    for row in rows:
        for system in SYSTEMS:
            parts = {part: median(samples) for part, samples in row.cpu_us.get(system, {}).items()}
            if parts:
                shown = (number(parts.get(part)) for part in ("service", "watcher", "postgres"))
                lines.append((row.case, row.label, system, *shown, number(sum(parts.values()))))
    return lines


def compared(rows: Rows, earlier: Mapping[str, Any]) -> list[Line]:
    """Each row beside the same row of an earlier run: ratios to the usual way where there are any, since machines
    differ."""
    before = {(row["case"], row["label"]): row for row in earlier["rows"]}
    lines: list[Line] = [("case", "", "by", "before", "now", "now/before")]
    for row in rows:
        old = before.get((row.case, row.label))
        if old is None:
            continue
        by, was, now = "ratio", old["ratio"], row.ratio
        if was is None or now is None:
            samples = old["samples"].get(TAPWATT)
            by, was, now = row.unit, median(samples) if samples else None, row.figure(TAPWATT)
        if was and now is not None:
            lines.append((row.case, row.label, by, number(was), number(now), f"{number(now / was)} x"))
    return lines


def plain(lines: list[Line]) -> str:
    """Columns of one width; text to the left, figures to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]

    def padded(line: Line) -> str:
        cells = [
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    rule = "-" * min(sum(widths) + 2 * (len(widths) - 1), 160)
    return "\n".join([padded(lines[0]), rule, *map(padded, lines[1:])])


def markdown(lines: list[Line]) -> str:
    head, *rest = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([head, "|" + "---|" * len(lines[0]), *rest])
