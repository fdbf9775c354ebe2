"""Writes equal contents as one text, and hashes it. Hashes of evidence are computed of it."""

import hashlib
import json
from datetime import UTC, datetime
from decimal import Decimal


def canonical(value: object) -> str:
    """Writes JSON with sorted names, in ASCII, without spaces. Times in UTC with their microseconds.

    A fraction is written digit by digit as `{"number": "0.49"}`, so that 0.49 and "0.49" differ; 1.0 is 1.
    """
    return _ENCODER.encode(value)


def digest(value: object) -> str:
    """SHA-256 of the canonical text, in hex."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        whole = int(value)
        return whole if whole == value else {"number": format(value.normalize(), "f")}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    raise TypeError(f"{type(value).__name__} has no canonical form")


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)
