"""What looks like a card number never gets past the door: no field may hold one, under whatever name."""

import re
from collections.abc import Iterator
from decimal import Decimal
from unicodedata import decimal

from pydantic_core import PydanticCustomError

DIGIT_RUN = re.compile(r"(?<![0-9])[0-9](?:[\s\-_\u2010-\u2015]{0,2}[0-9]){12,18}(?![0-9])")
ISSUERS = re.compile(r"^(?:3[0-9]|4|5[0-9]|6[0-9]|2(?:2[2-9]|[3-6]|7[01]|720)|9792|81)")
"""Leading digits of the card schemes (ISO/IEC 7812); other numbers, such as dates, pass."""

IDENTIFIERS = frozenset({"charge_point_id"})
"""Monta's ids are long digit strings of their own; these fields of a body are checked against what we know instead."""


def looks_like_card_number(text: str) -> bool:
    """13 to 19 digits of any script, a scheme's beginning, a right check digit (Luhn); spaces and hyphens ignored."""
    western = "".join(str(decimal(c)) if c.isdecimal() else c for c in text)
    for run in DIGIT_RUN.finditer(western):
        digits = re.sub(r"[^0-9]", "", run.group())
        if ISSUERS.match(digits) and _luhn(digits):
            return True
    return False


def refuse_card_data(value: object) -> object:
    """A pydantic validator for a whole body, before it is read. The message names fields, never values."""
    fields = sorted(set(_fields_with_card_numbers(value, "")))
    if fields:
        raise PydanticCustomError(
            "card_data_not_allowed",
            "holds what looks like a card number",
            {"fields": fields},
        )
    return value


def _fields_with_card_numbers(value: object, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, child in value.items():
            here = f"{path}.{key}".lstrip(".")
            if looks_like_card_number(str(key)):
                yield f"{path} (a name in it)".strip()
            elif path or key not in IDENTIFIERS:
                yield from _fields_with_card_numbers(child, here)
    elif isinstance(value, list):
        for i, child in enumerate(value):
            yield from _fields_with_card_numbers(child, f"{path}[{i}]")
    elif looks_like_card_number(_text_of(value)):
        yield path


def _text_of(value: object) -> str:
    """Of a fraction only the whole part: the digits behind the point are nobody's card."""
    if isinstance(value, Decimal):
        return f"{value:f}".partition(".")[0] if value.is_finite() and value.adjusted() < 40 else ""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _luhn(digits: str) -> bool:
    doubled = (int(d) * 2 if i % 2 else int(d) for i, d in enumerate(reversed(digits)))
    return sum(n - 9 if n > 9 else n for n in doubled) % 10 == 0
