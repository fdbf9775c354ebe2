"""Reads one JSON object from Monta field by field. Invalid values become None and are named."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeVar

from app.strict_json import JsonIn, clean_text

T = TypeVar("T")

MAX_ID = 2**63 - 1
"""Monta's ids are int64."""

DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)", re.ASCII)
CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)


def id_of(value: JsonIn) -> str | None:
    """Reads a positive int64 as digits; None: it is no id. Monta may have written a number or a string."""
    is_spelled = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19
    if is_spelled or (isinstance(value, Decimal) and value.is_finite() and value.adjusted() < 19):
        value = _whole(Decimal(str(value)))
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_ID:
        return str(value)
    return None


def _whole(number: Decimal) -> int | None:
    return int(number) if number == number.to_integral_value() else None


def date_of(value: JsonIn) -> datetime | None:
    """Reads an RFC 3339 date-time as UTC. With 0 to 9 fraction digits, truncated to microseconds.

    A date without an offset is refused: read as UTC when it was meant locally, it would lie hours ahead and every
    later true report would seem stale.
    """
    if not isinstance(value, str) or not DATE.fullmatch(value):
        return None
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def decimal_of(value: JsonIn) -> Decimal | None:
    """Reads a number exactly as Monta wrote it, quoted or not. None for anything else."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Decimal(str(value))
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,18}(\.\d{1,18})?", value, re.ASCII):
        return Decimal(value)
    return None


class Fields:
    """The fields of one object. A missing or null field is None and no problem; `problems` names the invalid ones."""

    def __init__(
        self, source: Mapping[str, JsonIn], problems: list[str] | None = None, path: str = ""
    ) -> None:
        self._source = source
        self._path = path
        self._problems: list[str] = [] if problems is None else problems

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(self._problems)

    def object(self, name: str) -> "Fields":
        """The object under `name`; an empty one when it is missing."""
        value = self._source.get(name)
        if value is not None and not isinstance(value, dict):
            self.drop(name)
        return Fields(value if isinstance(value, dict) else {}, self._problems, f"{self._path}{name}.")

    def objects(self, name: str) -> list["Fields"]:
        """The objects of the list under `name`."""
        value = self._source.get(name)
        if value is not None and not isinstance(value, list):
            self.drop(name)
        rows = value if isinstance(value, list) else []
        return [Fields(row, self._problems, f"{self._path}{name}.") for row in rows if isinstance(row, dict)]

    def raw(self, name: str) -> JsonIn:
        return self._source.get(name)

    def id(self, name: str) -> str | None:
        return self._checked(name, id_of(self._source.get(name)))

    def date(self, name: str, *, latest: datetime | None = None) -> datetime | None:
        """A date-time, not after `latest`."""
        when = date_of(self._source.get(name))
        return self._checked(name, None if when and latest and when > latest else when)

    def decimal(self, name: str, *, high: int, low: int = 0) -> Decimal | None:
        """A number from `low` to `high`."""
        number = decimal_of(self._source.get(name))
        fits = number is not None and number.is_finite() and low <= number <= high
        return self._checked(name, number if fits else None)

    def text(self, name: str, *, max_chars: int = 500) -> str | None:
        """Reads text, cleaned for PostgreSQL and truncated to `max_chars`."""
        value = self._source.get(name)
        return self._checked(name, clean_text(value)[:max_chars] if isinstance(value, str) else None)

    def flag(self, name: str) -> bool | None:
        value = self._source.get(name)
        return self._checked(name, value if isinstance(value, bool) else None)

    def currency(self, name: str) -> str | None:
        """A three-letter code in upper case; Monta writes it in lower case."""
        value = self._source.get(name)
        code = value.upper() if isinstance(value, str) else ""
        return self._checked(name, code if CURRENCY.fullmatch(code) else None)

    def drop(self, name: str) -> None:
        """Names a field that was present but invalid."""
        self._problems.append(f"{self._path}{name}"[:100])

    def _checked(self, name: str, value: T | None) -> T | None:
        if value is None and self._source.get(name) is not None:
            self.drop(name)
        return value
