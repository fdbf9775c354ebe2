"""Generates identifiers in real use, and card numbers in every spelling, endlessly from a seed."""

import base64
import hashlib
import string
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from random import Random

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
BASE62 = string.digits + string.ascii_letters
A_DAY = datetime(2026, 11, 22, 10, 0, 0)  # noqa: DTZ001 - only its digits are used
YEARS = (datetime(2025, 1, 1), datetime(2027, 12, 31))  # noqa: DTZ001

Maker = Callable[[Random, int], str]


def _moment(chance: Random, n: int) -> datetime:
    """Every second one of a terminal's busy day, the others from three years."""
    if n % 2:
        return A_DAY + timedelta(seconds=n)
    return YEARS[0] + timedelta(seconds=chance.randrange(int((YEARS[1] - YEARS[0]).total_seconds())))


def _epoch_s(chance: Random, n: int) -> int:
    return 1_732_000_000 + n + chance.randrange(100_000_000)


def _some(chance: Random, letters: str, length: int) -> str:
    return "".join(chance.choices(letters, k=length))


def _sha256(n: int) -> str:
    return hashlib.sha256(f"card{n}".encode()).hexdigest()


def _uuid(chance: Random) -> uuid.UUID:
    return uuid.UUID(int=chance.getrandbits(128), version=4)


def _uuid7(chance: Random, n: int) -> uuid.UUID:
    return uuid.UUID(
        int=(_epoch_s(chance, n) * 1000 << 80) | 7 << 76 | chance.getrandbits(12) << 64 | 2 << 62 | n
    )


IDENTIFIERS: dict[str, Maker] = {
    "uuid": lambda c, n: str(_uuid(c)),
    "uuid, upper case": lambda c, n: str(_uuid(c)).upper(),
    "uuid without dashes": lambda c, n: _uuid(c).hex,
    "uuid as urn": lambda c, n: _uuid(c).urn,
    "uuid 7": lambda c, n: str(_uuid7(c, n)),
    "prefix and uuid": lambda c, n: f"auth_{_uuid(c)}",
    "sha-256": lambda c, n: _sha256(n),
    "sha-256, upper case": lambda c, n: _sha256(n).upper(),
    "sha-256 with its name": lambda c, n: f"sha256:{_sha256(n)}",
    "sha-256 in pairs": lambda c, n: ":".join(f"{b:02X}" for b in bytes.fromhex(_sha256(n))),
    "sha-256, base64": lambda c, n: base64.b64encode(bytes.fromhex(_sha256(n))).decode(),
    "sha-256, base64url": lambda c, n: base64.urlsafe_b64encode(bytes.fromhex(_sha256(n))).decode(),
    "sha-1": lambda c, n: _sha256(n)[:40],
    "md5": lambda c, n: _sha256(n)[:32],
    "object id": lambda c, n: f"{_epoch_s(c, n):08x}{c.getrandbits(64):016x}",
    "ulid": lambda c, n: _some(c, CROCKFORD, 26),
    "ulid with a prefix": lambda c, n: f"ps_{_some(c, CROCKFORD, 26).lower()}",
    "base32": lambda c, n: _some(c, string.ascii_uppercase + "234567", 24),
    "nano id": lambda c, n: _some(c, BASE62 + "_-", 21),
    "stripe": lambda c, n: f"pi_3{_some(c, BASE62, 23)}",
    "adyen, letters": lambda c, n: _some(c, "BCDFGHJKLMNPQRSTVWXZ23456789", 16),
    "terminal, date, counter": lambda c, n: f"T42-{_moment(c, n):%Y%m%d}-{n:06}",
    "terminal, date, counter in digits": lambda c, n: f"{c.randrange(1000)}-{_moment(c, n):%Y%m%d}-{n:06}",
    "terminal, short date, counter": lambda c, n: f"T{c.randrange(100)}-{_moment(c, n):%y%m%d}-{n:08}",
    "terminal, date, counter in one": lambda c, n: f"T{c.randrange(100)}{_moment(c, n):%Y%m%d}{n:06}",
    "letter, year, counter": lambda c, n: f"A-{_moment(c, n):%Y}-{n:06}",
    "number, year, counter": lambda c, n: f"INV/{c.randrange(100)}/{_moment(c, n):%Y}/{n:010}",
    "date with dashes, counter": lambda c, n: f"INV-{c.randrange(100)}-{_moment(c, n):%Y-%m-%d}-{n:06}",
    "rfc 3339": lambda c, n: f"{c.randrange(1000)}/{_moment(c, n):%Y-%m-%dT%H:%M:%S}Z",
    "yyyymmddhhmmss and counter": lambda c, n: f"{_moment(c, n):%Y%m%d%H%M%S}{n % 10 ** (n % 6)}",
    "yymmddhhmmss and counter": lambda c, n: f"{_moment(c, n):%y%m%d%H%M%S}{n}",
    "yymmdd, hhmmss, counter": lambda c, n: f"{_moment(c, n):%y%m%d-%H%M%S}-{n % 10000:04}",
    "yymmdd, hhmmss, counter, lane": lambda c, n: f"lane{c.randrange(30)}_{_moment(c, n):%y%m%d_%H%M%S}_{n}",
    "yymmddhhmmss and four digits": lambda c, n: f"{_moment(c, n):%y%m%d%H%M%S}{n % 10000:04}",
    "epoch ms and counter": lambda c, n: f"{_epoch_s(c, n) * 1000 + n % 1000}{n % 1000}",
    "epoch ms, dash, counter": lambda c, n: f"{_epoch_s(c, n) * 1000 + n % 1000}-{n % 1000:03}",
    "snowflake": lambda c, n: str(1_900_000_000_000_000_000 + c.randrange(10**17)),
    "adyen, digits": lambda c, n: (
        f"{c.choice((79, 81, 82, 83, 85, 86, 88, 91, 99))}{_epoch_s(c, n)}{n % 10000:04}"
    ),
    "rrn": lambda c, n: f"{_moment(c, n):%Y%j%H}"[3:] + f"{n:06}",
    "monta's charge id": lambda c, n: str(689_100_419_745_380_035 + c.randrange(10**15)),
}

IN_TEXT_TOO = [
    name
    for name in IDENTIFIERS
    if not name.startswith(
        ("yymmddhhmmss", "yymmdd, ", "adyen, digits", "monta", "snowflake", "epoch", "rrn")
    )
    and not name.endswith("in one")
]
"""Forms that pass in free text as well; the others are digits only, as a card number is."""

SCHEMES = (
    *[("4", 16)] * 4,
    ("4", 13),
    ("4", 19),
    *[(str(n), 16) for n in range(51, 56)],
    ("2221", 16),
    ("2223", 16),
    ("23", 16),
    ("2720", 16),
    ("34", 15),
    ("37", 15),
    ("36", 14),
    ("38", 14),
    ("305", 14),
    ("6011", 16),
    ("65", 16),
    ("644", 16),
    ("3530", 16),
    ("3589", 16),
    ("62", 16),
    ("62", 19),
    ("6759", 16),
    ("6759", 19),
    ("5018", 16),
    ("6304", 16),
    ("5019", 16),
    ("2200", 16),
    ("9792", 16),
    ("60", 16),
)

SEPARATORS = [
    *["", " ", "-", ".", "/", "_", "  ", "   ", "\t", " - ", ", ", "*", ":", "|"],
    *["\u00a0", "\u2003", "\u2009", "\u202f", "\u3000", "\u2010", "\u2011", "\u2013", "\u2014", "\u2212"],
    *[
        "\u00ad",
        "\u200b",
        "\u200c",
        "\u200d",
        "\u2060",
        "\ufeff",
        "\u200b \u200b",
        "\u034f",
        "\uff0d",
        "\u30fb",
    ],
]
ASCII_MARKS = ["", "-", ".", "/", "_", "--", "*", ":", "="]
"""Those that a reference may have in it."""
SCRIPTS = ["0", "\uff10", "\u0660", "\u06f0", "\u0966", "\U0001d7ce", "\U0001d7d8", "\u0e50"]
"""The zero of each: Western, full width, Arabic, Persian, Devanagari, bold, double struck, Thai."""
AROUND = [
    "{}",
    "card {} please",
    "x{}y",
    "\u00e4{}!",
    "({})",
    "{} 123",
    "{} 12 27",
    "{} 12/27",
    "3 {}",
    "007 {}",
]
ASCII_AROUND = ["{}", "ref-{}", "card{}x", "{}-123", "{}/12/27", "3-{}", "cc{}", "{}=27121010000"]


def luhn(digits: str) -> str:
    doubled = [int(d) * 2 if i % 2 == 0 else int(d) for i, d in enumerate(reversed(digits))]
    return digits + str(-sum(n - 9 if n > 9 else n for n in doubled) % 10)


def card_number(chance: Random) -> str:
    start, length = chance.choice(SCHEMES)
    return luhn(start + _some(chance, string.digits, length - 1 - len(start)))


def grouped(chance: Random, digits: str) -> list[str]:
    """As printed on the card, in groups of one size, or cut anywhere."""
    way = chance.randrange(4)
    if way == 0 and len(digits) in (14, 15):
        return [digits[:4], digits[4:10], digits[10:]]
    if way < 3:
        size = (4, 4, chance.randint(1, 8))[way]
        return [digits[i : i + size] for i in range(0, len(digits), size)]
    cuts = sorted(chance.sample(range(2, len(digits) - 1), 3))
    parts = [digits[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]
    return parts if max(map(len, parts)) <= 8 else [digits]


def spelled_in_text(chance: Random) -> str:
    digits = card_number(chance)
    separator = chance.choice(SEPARATORS)
    text = separator.join(grouped(chance, digits))
    zero = chance.choice(SCRIPTS) if chance.random() < 0.4 else "0"
    text = "".join(chr(ord(zero) + int(c)) if c in string.digits else c for c in text)
    return chance.choice(AROUND).format(text)


def spelled_in_reference(chance: Random) -> str:
    text = chance.choice(ASCII_MARKS).join(grouped(chance, card_number(chance)))
    return chance.choice(ASCII_AROUND).format(text)


def identifiers(form: str, count: int) -> Iterator[str]:
    chance = Random(form)
    make = IDENTIFIERS[form]
    return (make(chance, n) for n in range(count))
