"""Reads and writes JSON as Monta does. Compact, times in UTC with Z, decimals as plain JSON numbers."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import TypeAlias

JsonValue: TypeAlias = "bool | int | Decimal | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
JsonObject: TypeAlias = Mapping[str, JsonValue]
MAX_DEPTH = 32
"""Deeper bodies are refused; far below Python's recursion limit."""


class NotJson(ValueError):
    """The body is no acceptable JSON."""


def dumps(value: JsonValue) -> bytes:
    """Writes compact JSON, exactly the bytes that are sent and signed. A lone surrogate becomes `?`, as in Java."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_number).encode(
        errors="replace"
    )


def _number(value: object) -> float:
    # Monta's numbers are Java doubles: 12.30 leaves as 12.3, a Decimal of up to 15 digits survives as it is.
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def loads(body: bytes) -> JsonValue:
    """Parses JSON with Decimal for every fraction. NotJson for anything else: NaN, 1e999 and excessive depth
    included."""
    if body.count(b"[") + body.count(b"{") > 100_000:
        raise NotJson("too many brackets")
    try:
        value: JsonValue = json.loads(body, parse_float=_double, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise NotJson("not a JSON document") from error
    if _depth(value) > MAX_DEPTH:
        raise NotJson("nested too deeply")
    return value


def _double(spelling: str) -> Decimal:
    try:
        value = Decimal(spelling)
    except InvalidOperation as error:
        raise NotJson("a number is out of all bounds") from error
    if not isfinite(float(value)):
        raise NotJson("a number is too large")
    return value


def _no_constant(name: str) -> JsonValue:
    raise NotJson(f"{name} is not JSON")


def _depth(value: JsonValue, level: int = 1) -> int:
    if level > MAX_DEPTH:
        return level
    if isinstance(value, Mapping):
        return max((_depth(item, level + 1) for item in value.values()), default=level)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return max((_depth(item, level + 1) for item in value), default=level)
    return level


def when(at: datetime | None) -> str | None:
    """Formats a time as ISO 8601 with Z. With milliseconds unless they are zero: both spellings occur."""
    if at is None:
        return None
    text = at.isoformat(timespec="milliseconds" if at.microsecond else "seconds")
    return text.replace("+00:00", "Z")


def kwh(energy_wh: int, places: int = 3) -> Decimal:
    """Converts Wh to kWh, truncated to `places`. Not rounded: consumedKwh shows two while the meter has three."""
    step = 10 ** (3 - places)
    return Decimal(energy_wh // step * step).scaleb(-3)
