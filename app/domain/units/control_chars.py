"""Shows control characters of texts from elsewhere as escapes. None of them moves a cursor or turns text round."""

import re

CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0, DEL and C1, other ends of lines, what reverses the direction of text, and bytes that are not UTF-8."""


def escaped(text: str) -> str:
    """Writes every control character of a line as Python would, such as ESC as backslash, x1b."""
    return CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def visible(text: str) -> str:
    """Writes all control characters but line feeds and tabs as JSON would. JSON stays what it is."""
    if text.isprintable():
        return text
    return CONTROLS.sub(lambda found: found[0] if found[0] in "\n\t" else f"\\u{ord(found[0]):04x}", text)
