"""Writes CSV (RFC 4180) that no spreadsheet executes."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""A text that begins so would be a formula to a spreadsheet (OWASP, CSV injection)."""


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The header and all rows. None is an empty cell; texts that look like formulas get an apostrophe in front."""
    written = StringIO()
    table = csv.writer(written, lineterminator="\r\n")
    table.writerow(header)
    table.writerows([_cell(value) for value in row] for row in rows)
    return written.getvalue()


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return value
