"""JSON documents of jsonb columns as text: encoded and decoded by msgspec, without dicts in between."""

from typing import Any

import msgspec
from sqlalchemy import Column, Label, Text, cast, func


class RawJson(str):
    """Text that is JSON already; `to_json` writes it as it is."""

    __slots__ = ()


_ENCODER = msgspec.json.Encoder()
"""Writes a Decimal as text, digit by digit, and dataclasses with all their fields."""


def to_document(value: object) -> RawJson:
    """Encodes dataclasses for a jsonb column."""
    return RawJson(_ENCODER.encode(value).decode())


def as_text(column: Column[Any]) -> Label[str]:
    """Selects a jsonb column as text under its own name; JSON's null as NULL."""
    return func.nullif(cast(column, Text), "null", type_=Text()).label(column.name)
