"""The hash chain of a session's journal. Each line's hash covers the line and the hash before it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from app.domain.units.canonical import digest
from app.domain.units.frozen import frozen

Value: TypeAlias = str | int | bool | None

BEGINNING = ""
"""What the first line's hash is computed with in place of a hash before it."""


@frozen(kw_only=True)
class Line:
    """A journal line as its hash covers it; `number` counts the session's lines from 1."""

    session_id: str
    number: int
    at: datetime
    kind: str
    source: str
    detail: Mapping[str, Value]


def link(previous: str, line: Line) -> str:
    """Hashes a line of the journal. SHA-256, in hex, of the hash before it and the line in canonical form."""
    fields = [line.session_id, line.number, line.at, line.kind, line.source, dict(line.detail)]
    return digest([previous, fields])


@frozen
class Linked:
    """A line with the hash that was stored with it, in hex."""

    line: Line
    hash: str


def broken_at(
    lines: Sequence[Linked], *, head: str, count: int, first: int = 1, previous: str = BEGINNING
) -> str | None:
    """What does not fit in a session's chain, in words. None: it is whole, and ends with `head` after `count` lines.

    `first`, `previous`: the number of the first of `lines`, and the hash before it, where only the newest are examined.
    """
    for number, linked in enumerate(lines, start=first):
        if linked.line.number != number:
            return f"line {number} is missing, or lines are not in order"
        if linked.hash != link(previous, linked.line):
            return f"line {number} or its hash was changed"
        previous = linked.hash
    found = first - 1 + len(lines)
    if found != count:
        return f"there are {found} lines instead of {count}"
    return None if previous == head else "the last line's hash is not the one that the session keeps"
