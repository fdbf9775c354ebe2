"""The card schemes' number ranges: the lengths of card numbers by their first digits, and the check digit."""

from collections.abc import Sequence
from itertools import accumulate

PREFIX = 4
"""So many leading digits decide about the scheme."""

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


def _table(*sources: Sequence[tuple[str, str, Sequence[int]]]) -> dict[str, tuple[int, ...]]:
    found: dict[str, set[int]] = {}
    for low, high, lengths in (row for source in sources for row in source):
        for n in range(int(low), int(high) + 1):
            found.setdefault(f"{n:0{PREFIX}}", set()).update(lengths)
    return {prefix: tuple(sorted(lengths)) for prefix, lengths in found.items()}


LENGTHS = _table(SCHEMES)
LENGTHS_IN_TEXT = _table(SCHEMES, SHORT)

_PLAIN = [int(d) for d in "0123456789"]
_DOUBLED = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]


def is_card_number(digits: str) -> bool:
    """Whether these digits, no more and no fewer, are a card number: scheme, length, Luhn's check digit."""
    return len(digits) in LENGTHS.get(digits[:PREFIX], ()) and _passes_luhn(digits)


def holds_card_number(digits: str) -> bool:
    """Whether any window of these digits is a card number. Sums are kept running: a window costs a subtraction."""
    sums: tuple[list[int], list[int]] | None = None
    for start in range(len(digits) - PREFIX):
        for length in LENGTHS_IN_TEXT.get(digits[start : start + PREFIX], ()):
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
    """Luhn's sums up to each place, for windows that end at an even and at an odd one."""
    values = [ord(d) - 48 for d in digits]
    even = accumulate((_PLAIN[v] if i % 2 else _DOUBLED[v] for i, v in enumerate(values)), initial=0)
    odd = accumulate((_DOUBLED[v] if i % 2 else _PLAIN[v] for i, v in enumerate(values)), initial=0)
    return list(even), list(odd)
