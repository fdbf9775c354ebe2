"""Cuts the entries out of a delivery that is nested too deeply to be parsed as a whole."""

import re
from itertools import pairwise

TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)
OPENERS = frozenset("[{")
CLOSES = {"]": "[", "}": "{"}
ENTRIES = re.compile(r'\s*"entries"\s*:\s*(.*)', re.DOTALL)


def split_entries(text: str) -> list[str] | None:
    """The texts of the elements of the root object's `entries` list (the last one, as in the parser); None
    when there is none. One pass for each of the two levels and no recursion; the elements themselves are not
    checked."""
    members = _members(text, "{")
    named = [found[1] for found in map(ENTRIES.fullmatch, members or []) if found]
    return _members(named[-1], "[") if named else None


def _members(text: str, bracket: str) -> list[str] | None:
    """The texts between the outermost commas of a list or an object; None when its brackets do not match."""
    text = text.strip()
    cuts = _cuts(text)
    if text[:1] != bracket or not cuts or cuts[-1] != len(text) - 1:
        return None
    pieces = [text[start + 1 : end] for start, end in pairwise(cuts)]
    return pieces if any(piece.strip() for piece in pieces) else []


def _cuts(text: str) -> list[int]:
    """Where the outermost container opens, has its commas and closes; empty when its brackets do not
    match."""
    opened: list[str] = []
    cuts: list[int] = []
    for token in TOKEN.finditer(text):
        mark = token[0]
        if mark in OPENERS:
            opened.append(mark)
        if len(opened) == 1 and (mark == "," or not cuts):
            cuts.append(token.start())
        if mark in CLOSES and (not opened or opened.pop() != CLOSES[mark]):
            return []
        if not opened:  # closed again, or something stands before the first bracket
            return [*cuts, token.start()]
    return []
