"""Finds card numbers in text, by number range and field."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import Enum
from functools import cache
from itertools import accumulate
from urllib.parse import unquote

PREFIX = 4
"""Number of leading digits that decide the scheme."""

LEGACY = range(12, 16)
"""Maestro's short numbers. RRNs and counters look like them, so they count in free text only."""

SCHEMES: Sequence[tuple[str, str, Sequence[int]]] = (
    ("2131", "2131", (15,)),
    ("2200", "2204", (16, 17, 18, 19)),
    ("2205", "2205", (16,)),
    ("2221", "2720", (16,)),
    ("3000", "3059", (14, 16, 19)),
    ("3095", "3095", (14, 16, 19)),
    ("3400", "3499", (15,)),
    ("3528", "3589", (16, 17, 18, 19)),
    ("3600", "3699", (14, 16, 19)),
    ("3700", "3799", (15,)),
    ("3800", "3999", (14, 16, 19)),
    ("4000", "4999", (13, 16, 19)),
    ("5000", "5099", (16, 17, 18, 19)),
    ("5100", "5599", (16,)),
    ("5600", "5899", (16, 17, 18, 19)),
    ("6000", "6099", (16, 17, 18, 19)),
    ("6200", "6399", (16, 17, 18, 19)),
    ("6440", "6599", (16, 17, 18, 19)),
    ("6700", "6799", (16, 17, 18, 19)),
    ("8100", "8171", (16, 17, 18, 19)),
    ("8172", "8299", (16,)),
    ("8600", "8600", (16,)),
    ("9578", "9578", (16,)),
    ("9704", "9704", (16, 19)),
    ("9792", "9792", (16,)),
    ("9860", "9860", (16,)),
)
"""First and last leading digits (ISO/IEC 7812) and lengths: Mir, Mastercard, Diners Club, American Express, JCB, Visa,
Maestro and what runs on its ranges, Discover, RuPay, UnionPay, Troy, Uzcard, BankAxept, Napas, Humo. Never 1, 0 or 20:
there are times and dates."""

SHORT: Sequence[tuple[str, str, Sequence[int]]] = (
    ("1800", "1800", (15,)),
    ("5018", "5018", LEGACY),
    ("5020", "5020", LEGACY),
    ("5038", "5038", LEGACY),
    ("5600", "5899", range(13, 16)),
    ("5893", "5893", LEGACY),
    ("6304", "6304", range(13, 16)),
    ("6759", "6759", LEGACY),
    ("6760", "6769", LEGACY),
)
"""Lengths that hardly any card has any more, for free text."""


@cache
def lengths_in_text(prefix: str) -> tuple[int, ...]:
    """Returns the lengths of card numbers that begin so. In order, with those of SHORT."""
    return _lengths(prefix, *SCHEMES, *SHORT)


@cache
def _lengths_of_schemes(prefix: str) -> tuple[int, ...]:
    return _lengths(prefix, *SCHEMES)


def _lengths(prefix: str, *ranges: tuple[str, str, Sequence[int]]) -> tuple[int, ...]:
    return tuple(
        sorted({length for low, high, lengths in ranges if low <= prefix <= high for length in lengths})
    )


_PLAIN = [int(d) for d in "0123456789"]
_DOUBLED = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]


def is_card_number(digits: str) -> bool:
    """Whether exactly these digits are a card number. By scheme, length and Luhn's check digit."""
    return len(digits) in _lengths_of_schemes(digits[:PREFIX]) and _passes_luhn(digits)


def holds_card_number(digits: str) -> bool:
    """Whether any window of these digits is a card number. Sums are kept running: a window costs a subtraction."""
    sums: tuple[list[int], list[int]] | None = None
    for start in range(len(digits) - PREFIX):
        for length in lengths_in_text(digits[start : start + PREFIX]):
            end = start + length
            if end > len(digits):
                break
            sums = sums or _running_sums(digits)
            of_parity = sums[end % 2]
            if (of_parity[end] - of_parity[start]) % 10 == 0:
                return True
    return False


def _passes_luhn(digits: str) -> bool:
    of_parity = _running_sums(digits)[len(digits) % 2]
    return of_parity[-1] % 10 == 0


def _running_sums(digits: str) -> tuple[list[int], list[int]]:
    """Returns Luhn's sums up to each place. For windows that end at an even and at an odd one."""
    values = [ord(d) - 48 for d in digits]
    even = accumulate((_PLAIN[v] if i % 2 else _DOUBLED[v] for i, v in enumerate(values)), initial=0)
    odd = accumulate((_DOUBLED[v] if i % 2 else _PLAIN[v] for i, v in enumerate(values)), initial=0)
    return list(even), list(odd)


class Field(Enum):
    """What a field is for decides what counts in it."""

    IDENTIFIER = "identifier"
    """References, tokens, keys: a card number is a whole group of digits, or whole groups together."""
    TEXT = "text"
    """Free text: any run of digits of a card's length, whatever is around it."""


FEWEST_DIGITS, MOST_DIGITS = 12, 19
LONGEST_FIELD = 1_000
"""Longer text is not a field of ours: only windows are checked, whose cost grows linearly with the length."""
LONGEST_GROUP = 8
"""Longest group of a grouped card number; identifiers have longer parts."""

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
"""2026-11-22, 22.11.2026, also with a time. 20261122 with up to twelve digits after it. No card begins with 20."""
_DATED_TOKEN = re.compile(
    rf"(?<![0-9A-Za-z])[A-Za-z][0-9]{{1,2}}202[4-9]{_MONTH}{_DAY}[0-9]{{0,10}}(?![0-9])"
)
"""T4220261122000007, of which only references are made."""
_DATED_COUNTER = re.compile(
    rf"[0-9]{{1,3}}[^0-9A-Za-z]+2[4-9]{_MONTH}{_DAY}[^0-9A-Za-z]+[0-9]{{1,10}}"
    r"|(?:[0-9]{1,3}[^0-9A-Za-z]+)?202[4-9][^0-9A-Za-z]+[0-9]{5,12}"
)
"""A chain that is all of 42-261122-000007 or 42-2026-0000000123."""
_STAMPED_GROUPS = re.compile(
    rf"{_AT_FIRST}(2[4-7]{_MONTH}{_DAY})[-_]([0-2][0-9][0-5][0-9][0-5][0-9])(?![0-9])"
)
"""261122-101010, as in 261122-101010-0007."""
_STAMPED = re.compile(r"2[4-7][0-9]{10}")
"""YYMMDDhhmmss of the years in which it can look like a Mastercard number (2221 to 2720)."""
_PSP = re.compile(r"8[12]1[4-9][0-9]{12}")
"""Adyen's pspReference: two digits, seconds since 1970, four digits."""
_TAILS = frozenset({3, 4, 7})
"""Digits that follow a card number when too much is pasted: its code, its expiry, both."""

FILLERS = frozenset("\u115f\u1160\u3164\uffa0")
"""Letters that show nothing."""
SILENT = frozenset({"Cf", "Mn", "Me"})
"""Format characters and marks: they stand between digits without being seen."""


def looks_like_card_number(text: str, field: Field) -> bool:
    """Whether a text holds a known scheme's card number. In any spelling."""
    if len(text) < FEWEST_DIGITS:
        return False
    plain = normalized(text)
    if _found_in(plain, field):
        return True
    return "%" in plain and _found_in(normalized(unquote(plain)), field)


def normalized(text: str) -> str:
    """Rewrites digits as 0 to 9 and drops invisible characters. Of any script; compatible forms become usual ones."""
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
    if field is Field.IDENTIFIER:
        text = _STAMPED_GROUPS.sub(lambda m: "x" if _is_stamped(m[1] + m[2]) else m.group(), text)
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
    """Removes tokens in which digits and letters alternate. UUIDs, digests and the like are no card numbers."""
    text = _UUID.sub("x", text)
    text = _HEX_PAIRS.sub(lambda m: "x" if _has_letter(m.group()) else m.group(), text)
    return _TOKEN.sub(lambda m: "x" if _is_opaque(m.group()) else m.group(), text)


def _is_opaque(token: str) -> bool:
    if not _has_letter(token):
        return False
    is_hex, switches = _HEX.fullmatch(token) is not None, len(_SWITCH.findall(token))
    return switches >= 5 or (is_hex and (len(token) >= 24 or switches >= 3))


def _has_letter(token: str) -> bool:
    return not token.replace("-", "").replace(":", "").isdigit()


def _is_grouped_card(groups: list[str]) -> bool:
    """Whether the groups are as cards are written. All of one size but for the last, or 4-6-5 and 4-6-4."""
    return any(
        _is_usual([len(g) for g in part]) and is_card_number("".join(part)) for part in _parts(groups, 2)
    )


def _is_usual(sizes: list[int]) -> bool:
    same = len(set(sizes[:-1])) == 1 and sizes[-1] <= sizes[0] <= LONGEST_GROUP
    return same or sizes in ([4, 6, 5], [4, 6, 4])


def _holds_group(groups: list[str]) -> bool:
    """Whether one or several whole groups are a card number. Several in a row only if none of them is long."""
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
