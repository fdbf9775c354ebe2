"""Reads terminals from CSV, and names every problem with its line."""

import csv
import io
import sys
from pathlib import Path

from app.domain.units.csv_text import text_of_cell
from app.domain.units.ids import ChargePointId
from app.flows.admin.manage_terminals import NewTerminal

COLUMNS = ("provider", "name", "charge_points")
MAX_BYTES = 1024 * 1024
MAX_ROWS = 2000
MAX_TEXT_CHARS = 200
MOST_PROBLEMS = 20


def read_rows(file: Path) -> tuple[list[NewTerminal], list[str]]:
    """The terminals of a file, and what is wrong with it. Other columns, such as those that we print, are skipped."""
    try:
        source = sys.stdin.buffer.read(MAX_BYTES + 1) if str(file) == "-" else _content(file)
        text = source.decode("utf-8-sig")
    except OSError as error:
        return [], [f"it cannot be read: {error.strerror}"]
    except UnicodeDecodeError:
        return [], ["it is not UTF-8"]
    if len(source) > MAX_BYTES:
        return [], [f"it has more than {MAX_BYTES} bytes"]
    return _read(text)


def id_problem(text: str) -> str | None:
    """Why a text is no id of Monta's; None: it may be."""
    sound = text.isascii() and text.isdigit() and len(text) <= 19
    return None if sound else "must be Monta's id: digits only, 19 at most"


def provider_problem(text: str) -> str | None:
    sound = text.isascii() and text.isprintable() and " " not in text and 0 < len(text) <= 64
    return None if sound else "must be a slug of 64 characters at most, without spaces"


def _content(file: Path) -> bytes:
    with file.open("rb") as source:
        return source.read(MAX_BYTES + 1)


def _read(text: str) -> tuple[list[NewTerminal], list[str]]:
    first = text.partition("\n")[0]
    reader = csv.DictReader(
        io.StringIO(text, newline=""), delimiter=";" if ";" in first else ",", strict=True
    )
    rows: list[NewTerminal] = []
    problems: list[str] = []
    try:
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            return [], [
                f"the first line must name the columns {', '.join(COLUMNS)}; missing: {', '.join(missing)}"
            ]
        for fields in reader:
            row, wrong = _row({name: text_of_cell((fields[name] or "").strip()) for name in COLUMNS})
            if fields.get(None):  # cells beyond the columns, which would get lost
                wrong.append("it has more cells than the first line; write charge points with spaces between")
            problems += [f"line {reader.line_num}: {each}" for each in wrong]
            rows.append(row)
            if len(rows) > MAX_ROWS or len(problems) > MOST_PROBLEMS:
                break
    except csv.Error as error:
        problems.append(f"line {reader.line_num}: it is not CSV ({error})")
    return rows, problems + _whole(rows)


def _row(fields: dict[str, str]) -> tuple[NewTerminal, list[str]]:
    provider, name, points = fields["provider"], fields["name"], fields["charge_points"].split()
    wrong = [f"provider {why}"] if (why := provider_problem(provider)) else []
    if not name or not name.isprintable() or len(name) > MAX_TEXT_CHARS:
        wrong.append(f"name must be a text of {MAX_TEXT_CHARS} characters at most, and not empty")
    if not points:
        wrong.append("charge_points must hold ids of charge points, separated by spaces")
    wrong += [f"charge_points: each {why}" for why in dict.fromkeys(map(id_problem, points)) if why]
    ids = [ChargePointId(point) for point in dict.fromkeys(points)]
    return NewTerminal(provider=provider, name=name, charge_point_ids=ids), wrong


def _whole(rows: list[NewTerminal]) -> list[str]:
    if len(rows) > MAX_ROWS:
        return [f"it has more than {MAX_ROWS} terminals; divide it"]
    if not rows:
        return ["it has no terminals"]
    names = [row.name for row in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    return [f"the name {name!r} is there twice" for name in twice[:MOST_PROBLEMS]]
