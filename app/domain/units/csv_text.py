"""Writes CSV (RFC 4180) that no spreadsheet executes."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO

from app.domain.units.control_chars import escaped

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""A text that begins so would be a formula to a spreadsheet (OWASP, CSV injection); the last four are full-width."""


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The header and all rows. None is an empty cell; texts that look like formulas get an apostrophe in front."""
    written = StringIO()
    table = csv.writer(written, lineterminator="\r\n")
    table.writerow(header)
    table.writerows([plain_cell(value) for value in row] for row in rows)
    return written.getvalue()


def plain_cell(value: object) -> object:
    """Returns a value as a cell: no formula, no control character, and nothing for None."""
    if not isinstance(value, str):
        return "" if value is None else value
    return escaped(f"'{value}" if value.startswith(FORMULA_STARTS) else value)


def text_of_cell(cell: str) -> str:
    """Returns the text that `plain_cell` wrote."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA_STARTS) else cell
