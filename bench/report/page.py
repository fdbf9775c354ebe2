"""Writes the measured tables into docs/performance.md between its marks, and the picture beside it."""

from pathlib import Path
from typing import Any

from bench.report import picture, table
from bench.report.rows import Rows
from bench.rig import machine

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "pictures" / "performance.svg"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def write(rows: Rows, facts: dict[str, Any], page: Path = PAGE, drawn: Path = PICTURE) -> None:
    """Replaces what stands between the marks. Raises ValueError when the page has none."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no marks {BEGIN} and {END}")
    drawn.write_text(picture.svg(rows), encoding="utf-8")
    page.write_text(f"{before}{BEGIN}\n{text(rows, facts)}\n{END}{after}", encoding="utf-8")


def text(rows: Rows, facts: dict[str, Any]) -> str:
    """The tables with what they were measured on."""
    return "\n\n".join(
        [
            f"Measured in one run of {facts['took_s']} s: {machine.sentence(facts)}.",
            "![Times the usual way](pictures/performance.svg)",
            table.markdown(table.figures(rows)),
            "CPU for each unit (an entry, a request, a start), in microseconds:",
            table.markdown(table.cpu(rows)),
        ]
    )
