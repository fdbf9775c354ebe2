"""Reads JSON within bounds and without floats. Writes JSON with exact decimals."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import msgspec

from app.domain.units.frozen import frozen

MAX_DEPTH = 64
"""Nesting beyond this is refused; Monta's deepest object has fewer than ten levels."""

MAX_DIGITS = 400
"""A number with more digits, or beyond 10^±300, is no measurement. PostgreSQL and Python have limits of their own."""


class BadJson(ValueError):
    """The bytes are no JSON, too large, or nested too deeply."""


class TooDeep(BadJson):
    """The bytes may be JSON, but nested more deeply than `MAX_DEPTH`."""


class Ambiguous(BadJson):
    """An object has one name twice."""


CONTAINERS = (list, dict)
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@frozen
class BadNumber:
    """Replaces NaN, Infinity and numbers out of bounds. No reader accepts it as a number."""

    spelling: str


JsonIn = None | bool | int | float | Decimal | str | BadNumber | list["JsonIn"] | dict[str, "JsonIn"]
"""What `load_json` returns. Floats never occur in it, but do in JSON that was stored in PostgreSQL and read back."""

ObjectHook = Callable[[list[tuple[str, JsonIn]]], dict[str, JsonIn]]

Storable = None | bool | int | float | str | list["Storable"] | dict[str, "Storable"]
"""JSON that `json.dumps` writes and PostgreSQL's jsonb accepts."""

Writable = None | bool | int | Decimal | str | Sequence["Writable"] | Mapping[str, "Writable"]
"""What `dump_json` writes; floats are excluded on purpose."""


def load_json(data: bytes | str, *, max_bytes: int) -> JsonIn:
    """Parses UTF-8 JSON: integers as int, all other numbers as Decimal. The last duplicate key counts.

    NUL characters and lone surrogates in strings stay (see `storable`). Raises BadJson, TooDeep.
    """
    if len(data) > max_bytes:
        raise BadJson(f"more than {max_bytes} bytes")
    value = _load_usual(data)
    if value is _UNUSUAL:
        value = _load_any(data)
    if _depth_exceeds(value, MAX_DEPTH):
        raise TooDeep(f"nested more than {MAX_DEPTH} levels deep")
    return value


def load_unambiguous(data: bytes, *, max_bytes: int) -> JsonIn:
    """Parses JSON; raises Ambiguous for an object's repeated name. Two readers might take either value."""
    value = load_json(data, max_bytes=max_bytes)
    names = _count_names(value)
    # Usually each name's quote is followed by a colon, and hardly any text has these two; else it is parsed again.
    if data.count(b'":') != names or any(apart in data for apart in _APART):
        _load_any(data, object_pairs_hook=_unambiguous)
    return value


_APART = (b" :", b"\t:", b"\n:", b"\r:")


def _count_names(value: JsonIn) -> int:
    """Counts the names of all objects within a value of at most MAX_DEPTH levels."""
    if isinstance(value, dict):
        names, children = len(value), iter(value.values())
    elif isinstance(value, list):
        names, children = 0, iter(value)
    else:
        return 0
    for child in children:
        if isinstance(child, CONTAINERS):
            names += _count_names(child)
    return names


def _unambiguous(pairs: list[tuple[str, JsonIn]]) -> dict[str, JsonIn]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Ambiguous("an object has the same name twice")
    return found


def _load_usual(data: bytes | str) -> JsonIn:
    """Parses usual JSON by msgspec, in a third of the time. _UNUSUAL for what it refuses (NaN, lone surrogates, what is
    no JSON) or would read otherwise (long integers)."""
    try:
        body = data.encode() if isinstance(data, str) else data
        if _LONG_INTEGER in body.translate(_AS_ZEROS):
            return _UNUSUAL
        value: JsonIn = _USUAL.decode(body)
    except (ValueError, RecursionError):
        return _UNUSUAL
    return value


def _load_any(data: bytes | str, object_pairs_hook: ObjectHook | None = None) -> JsonIn:
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        value: JsonIn = json.loads(
            text,
            parse_int=_integer,
            parse_float=_decimal,
            parse_constant=BadNumber,
            object_pairs_hook=object_pairs_hook,
        )
    except RecursionError as error:
        raise TooDeep("nested too deeply") from error
    except BadJson:
        raise
    except (
        ValueError
    ) as error:  # also UnicodeDecodeError and JSONDecodeError; their texts would quote the body
        raise BadJson("not JSON") from error
    return value


def _integer(spelling: str) -> int | BadNumber:
    return int(spelling) if len(spelling) <= MAX_DIGITS else BadNumber(spelling[:MAX_DIGITS])


def _decimal(spelling: str) -> Decimal | BadNumber:
    if len(spelling) > MAX_DIGITS:
        return BadNumber(spelling[:MAX_DIGITS])
    try:
        number = Decimal(spelling)
    except ArithmeticError:  # an exponent beyond even Decimal's range
        return BadNumber(spelling)
    return number if abs(number.adjusted()) <= 300 else BadNumber(spelling)


_UNUSUAL = BadNumber("")
_USUAL = msgspec.json.Decoder(float_hook=_decimal)
_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LONG_INTEGER = b"0" * (MAX_DIGITS + 1)


def _depth_exceeds(value: JsonIn, levels: int) -> bool:
    """Whether nesting is too deep, checked level by level. Not recursively, so that the check cannot exhaust the stack
    itself."""
    layer = [value] if isinstance(value, CONTAINERS) else []
    for _ in range(levels):
        layer = [
            child
            for parent in layer
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, CONTAINERS)
        ]
        if not layer:
            return False
    return True


def clean_text(text: str) -> str:
    """Replaces NUL characters and lone surrogates, which PostgreSQL refuses, by U+FFFD."""
    # Nearly all text is found to be clean without the search.
    return text if text.isascii() and "\0" not in text else UNSTORABLE.sub("\ufffd", text)


def storable(value: JsonIn) -> Storable:
    """Converts a value to JSON for jsonb. At most MAX_DEPTH deep: text cleaned, Decimals as float where exact."""
    if isinstance(value, dict):
        return {clean_text(key): storable(child) for key, child in value.items()}
    if isinstance(value, list):
        return [storable(child) for child in value]
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, BadNumber):
        return value.spelling
    return _number_or_text(value) if isinstance(value, Decimal) else value


def _number_or_text(number: Decimal) -> float | str:
    nearest = float(number)
    return nearest if Decimal(repr(nearest)) == number else str(number)


def dump_json(value: Writable) -> str:
    """Compact JSON; a Decimal is written digit by digit (12.35 stays 12.35). Raises ValueError for NaN."""
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError("JSON has no NaN and no Infinity")
        return format(value, "f")
    if isinstance(value, str) or value is None or isinstance(value, int):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(key)}:{dump_json(child)}" for key, child in value.items()) + "}"
    return "[" + ",".join(dump_json(child) for child in value) + "]"
