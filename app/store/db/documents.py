"""JSON documents of jsonb columns, with exact numbers. Dataclasses as text by msgspec, other values by a codec."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Column, Label, Text, cast, func

JSONB_FORMAT = b"\x01"
"""The version that precedes the text of jsonb in PostgreSQL's binary protocol."""


class RawJson(str):
    """Text that is JSON already. It is sent to the database as it is."""

    __slots__ = ()


class StoredJson(dict[str, object]):
    """A JSON object as a jsonb column has it, with its text. It is sent back as it is."""

    def __init__(self, contents: Mapping[str, object], text: str) -> None:
        super().__init__(contents)
        self.text = text


_ENCODER = msgspec.json.Encoder()
"""Writes a Decimal as text, digit by digit, and dataclasses with all their fields."""


def to_document(value: object) -> RawJson:
    """Encodes dataclasses for a jsonb column."""
    return RawJson(_ENCODER.encode(value).decode())


def to_lines(values: Sequence[object]) -> str:
    """Encodes values as JSON, each on a line of its own."""
    return _ENCODER.encode_lines(values).decode()[:-1]


def as_text(column: Column[Any]) -> Label[str]:
    """Selects a jsonb column as text under its own name. JSON's null as NULL."""
    return func.nullif(cast(column, Text), "null", type_=Text()).label(column.name)


def is_json(value: object) -> bool:
    """Whether `to_json` can write it and jsonb accept it. It has no NaN, no NUL characters, no lone surrogates."""
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and is_json(k) and is_json(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(map(is_json, value))
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= c <= "\udfff" for c in value)
    return value is None or isinstance(value, int) or (isinstance(value, Decimal) and value.is_finite())


def to_json(value: object) -> str:
    """Encodes JSON for jsonb. A Decimal becomes a number where that is exact, else text. RawJson and StoredJson stay as
    they are."""
    if isinstance(value, RawJson):
        return value
    if isinstance(value, StoredJson):
        return value.text
    return _JSON.encode(value)


def as_stored(value: object) -> object:
    """Returns a value as it will be read from a jsonb column."""
    return value if isinstance(value, StoredJson) else _loads(to_json(value))


def _decimal(value: object) -> float | str:
    if not isinstance(value, Decimal):
        raise TypeError(f"{type(value).__name__} has no JSON form here")
    number = float(value)
    return number if Decimal(repr(number)) == value else str(value)


_JSON = json.JSONEncoder(default=_decimal, separators=(",", ":"), allow_nan=False)


def jsonb_encoder(value: object) -> bytes:
    """Encodes a value of a jsonb parameter."""
    return JSONB_FORMAT + to_json(value).encode()


_loads = partial(json.loads, parse_float=Decimal)


def jsonb_decoder(data: bytes) -> object:
    """Decodes a jsonb value; fractions become Decimal."""
    return _loads(data[1:])
