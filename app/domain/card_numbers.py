"""Card numbers in text, whatever their spelling, told from identifiers by the field that they stand in."""

import re
import unicodedata
from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from urllib.parse import unquote

from app.domain.card_schemes import holds_card_number, is_card_number


class Field(Enum):
    """What a field is for decides what counts in it."""

    IDENTIFIER = "identifier"
    """References, tokens, keys: a card number is a whole group of digits, or whole groups together."""
    TEXT = "text"
    """Anything a person may write into: any run of digits of a card's length, whatever is around it."""


FEWEST_DIGITS, MOST_DIGITS = 12, 19
LONGEST_FIELD = 1_000
"""Longer text is no field of ours: it is judged by windows alone, whose cost grows with the length only."""
LONGEST_GROUP = 8
"""Nobody writes a card number in several groups and one of them longer than this; identifiers have such parts."""

_DIGIT = re.compile(r"[0-9]")
_CHAIN = re.compile(r"[0-9]+(?:[^0-9a-zA-Z]+[0-9]+)*")
_GROUP = re.compile(r"[0-9]+")
_TOKEN = re.compile(r"[0-9A-Za-z]{16,}")
_HEX = re.compile(r"(?:0x)?[0-9A-Fa-f]+")
_UUID = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Za-z])")
_HEX_PAIRS = re.compile(r"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{2}[:-]){5,}[0-9A-Fa-f]{2}(?![0-9A-Za-z])")
_SWITCH = re.compile(r"(?<=[0-9])(?=[A-Za-z])|(?<=[A-Za-z])(?=[0-9])")

_MONTH, _DAY = r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12][0-9]|3[01])"
_TIME = r"(?:[T _-]?[0-2][0-9]:?[0-5][0-9](?::?[0-5][0-9](?:\.[0-9]{1,9})?)?(?![0-9]))?"
_AT_FIRST = r"(?<![0-9])(?<![0-9][^0-9A-Za-z])(?:[0-9]{1,3}[^0-9A-Za-z]+)?"
"""The first of its chain, or the second after a short one: no part of a card number that was cut into groups."""
_DATES = re.compile(
    rf"{_AT_FIRST}20[0-9]{{2}}([-./]){_MONTH}\1{_DAY}(?![0-9]){_TIME}"
    rf"|{_AT_FIRST}{_DAY}([-./]){_MONTH}\2 ?20[0-9]{{2}}(?![0-9]){_TIME}"
    rf"|(?<![0-9])20[23][0-9]{_MONTH}{_DAY}[0-9]{{0,12}}(?![0-9])"
)
"""2026-11-22, 22.11.2026, also with a time; 20261122 with up to twelve digits after it. No card begins with 20."""
_DATED_TOKEN = re.compile(
    rf"(?<![0-9A-Za-z])[A-Za-z][0-9]{{1,2}}202[4-9]{_MONTH}{_DAY}[0-9]{{0,10}}(?![0-9])"
)
"""T4220261122000007, of which only references are made."""
_DATED_COUNTER = re.compile(
    rf"[0-9]{{1,3}}[^0-9A-Za-z]+2[4-9]{_MONTH}{_DAY}[^0-9A-Za-z]+[0-9]{{1,10}}"
    r"|(?:[0-9]{1,3}[^0-9A-Za-z]+)?202[4-9][^0-9A-Za-z]+[0-9]{5,12}"
)
"""A chain that is all of 42-261122-000007 or 42-2026-0000000123."""
_STAMPED = re.compile(r"2[4-7][0-9]{10}")
"""YYMMDDhhmmss of the years in which it can look like a Mastercard number (2221 to 2720)."""
_PSP = re.compile(r"8[12]1[4-9][0-9]{12}")
"""Adyen's pspReference: two digits, seconds since 1970, four digits."""
_TAILS = frozenset({3, 4, 7})
"""Digits that follow a card number where somebody pastes too much: its code, its expiry, both."""

FILLERS = frozenset("\u115f\u1160\u3164\uffa0")
"""Letters that show nothing."""
SILENT = frozenset({"Cf", "Mn", "Me"})
"""Format characters and marks: they stand between digits without being seen."""


def looks_like_card_number(text: str, field: Field) -> bool:
    """Whether a card number of a known scheme is in this text, in any spelling."""
    if len(text) < FEWEST_DIGITS:
        return False
    plain = normalized(text)
    if _found_in(plain, field):
        return True
    return "%" in plain and _found_in(normalized(unquote(plain)), field)


def normalized(text: str) -> str:
    """Digits of any script as 0 to 9, compatible forms as usual ones, nothing that cannot be seen."""
    if text.isascii():
        return text
    return "".join(map(_plain, unicodedata.normalize("NFKC", text)))


def _plain(char: str) -> str:
    if char.isascii():
        return char
    if unicodedata.category(char) in SILENT or char in FILLERS:
        return ""
    value = unicodedata.numeric(char, None)
    if value is not None and value in range(10):
        return str(int(value))
    return "x" if char.isalpha() else " "


def _found_in(text: str, field: Field) -> bool:
    if len(_DIGIT.findall(text)) < FEWEST_DIGITS:
        return False
    text = _without_tokens(text)
    if len(text) > LONGEST_FIELD:
        return any(holds_card_number("".join(_GROUP.findall(chain))) for chain in _CHAIN.findall(text))
    if any(_is_grouped_card(_GROUP.findall(chain)) for chain in _CHAIN.findall(text)):
        return True
    text = _DATES.sub("x", text)
    if field is Field.IDENTIFIER:
        text = _DATED_TOKEN.sub("x", text)
    else:
        text = _GROUP.sub(
            lambda m: "x" if len(m.group()) != 16 and _is_stamped(m.group()) else m.group(), text
        )
    chains = (_GROUP.findall(chain) for chain in _CHAIN.findall(text) if not _DATED_COUNTER.fullmatch(chain))
    if field is Field.TEXT:
        return any(holds_card_number("".join(groups)) for groups in chains)
    return any(map(_holds_group, chains))


def _without_tokens(text: str) -> str:
    """UUIDs, digests and other tokens in which digits and letters alternate are nobody's card."""
    text = _UUID.sub("x", text)
    text = _HEX_PAIRS.sub(lambda m: "x" if _has_letter(m.group()) else m.group(), text)
    return _TOKEN.sub(lambda m: "x" if _is_opaque(m.group()) else m.group(), text)


def _is_opaque(token: str) -> bool:
    if not _has_letter(token):
        return False
    if len(token) >= 24 and _HEX.fullmatch(token):
        return True
    return len(_SWITCH.findall(token)) >= 5


def _has_letter(token: str) -> bool:
    return not token.replace("-", "").replace(":", "").isdigit()


def _is_grouped_card(groups: list[str]) -> bool:
    """Groups as people and machines write cards: all of one size but for the last, or 4-6-5 and 4-6-4."""
    return any(
        _is_usual([len(g) for g in part]) and is_card_number("".join(part)) for part in _parts(groups, 2)
    )


def _is_usual(sizes: list[int]) -> bool:
    same = len(set(sizes[:-1])) == 1 and sizes[-1] <= sizes[0] <= LONGEST_GROUP
    return same or sizes in ([4, 6, 5], [4, 6, 4])


def _holds_group(groups: list[str]) -> bool:
    """Whole groups, one or several in a row, several only if none of them is long."""
    if any(_is_single_card(group) for group in groups):
        return True
    return any(
        is_card_number("".join(part))
        for part in _parts(groups, 2)
        if max(len(g) for g in part) <= LONGEST_GROUP
    )


def _is_single_card(group: str) -> bool:
    if _is_stamped(group) or _PSP.fullmatch(group):
        return False
    return is_card_number(group) or any(
        len(group) - length in _TAILS and is_card_number(group[:length]) for length in (15, 16)
    )


def _is_stamped(group: str) -> bool:
    if not _STAMPED.match(group):
        return False
    try:
        datetime.strptime(group[:12], "%y%m%d%H%M%S")  # noqa: DTZ007 - only whether there is such a time
    except ValueError:
        return False
    return True


def _parts(groups: list[str], fewest: int) -> Iterator[list[str]]:
    """Runs of groups with as many digits together as a card has."""
    for start in range(len(groups)):
        digits = 0
        for end in range(start, len(groups)):
            digits += len(groups[end])
            if digits > MOST_DIGITS:
                break
            if digits >= FEWEST_DIGITS and end - start + 1 >= fewest:
                yield groups[start : end + 1]
