"""Reading untrusted JSON values field by field: each wrong one is noted with its path, none raises."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation

MAX_NUMBER = Decimal(10) ** 9
MAX_DECIMALS = 20
_NUMBER = re.compile(r"-?\d{1,12}(\.\d{1,30})?([eE][+-]?\d{1,2})?", re.ASCII)
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing wrong with one field, e.g. `elements[0].restrictions.min_kwh`; never echoes the value."""

    field: str
    message: str


@dataclass(slots=True)
class Problems:
    """What was found wrong so far, in the order of reading."""

    found: tuple[FieldProblem, ...] = field(default=())

    def add(self, path: str, message: str) -> None:
        """Note one problem."""
        self.found = (*self.found, FieldProblem(path, message))


class Fields:
    """The fields of one JSON object at `path`. A field that is absent or null reads as None."""

    def __init__(self, values: Mapping[str, object], path: str, problems: Problems) -> None:
        self._values = values
        self._path = path
        self._problems = problems
        self.broken = False

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self._values.get(name) is not None

    def problem(self, name: str, message: str) -> None:
        """Note a problem with one field of this object."""
        self.broken = True
        self._problems.add(self._at(name), message)

    def text(self, name: str, most: int, *, required: bool = False) -> str | None:
        """A text of 1 to `most` characters."""
        value = self._get(name, required=required)
        if value is None:
            return None
        if not isinstance(value, str) or not 0 < len(value) <= most:
            self.problem(name, f"must be a text of 1 to {most} characters")
            return None
        return value

    def choice(self, name: str, allowed: Sequence[str], *, required: bool = False) -> str | None:
        """One of the allowed texts."""
        value = self._get(name, required=required)
        if value is None:
            return None
        if not isinstance(value, str) or value not in allowed:
            self.problem(name, f"must be one of {', '.join(allowed)}")
            return None
        return value

    def choices(self, name: str, allowed: Sequence[str]) -> tuple[str, ...]:
        """A list of allowed texts; empty when absent."""
        value = self._get(name)
        if value is None:
            return ()
        if not isinstance(value, list | tuple) or any(
            not isinstance(each, str) or each not in allowed for each in value
        ):
            self.problem(name, f"must be a list of {', '.join(allowed)}")
            return ()
        return tuple(value)

    def number(
        self, name: str, *, required: bool = False, most: Decimal = MAX_NUMBER, decimals: int = MAX_DECIMALS
    ) -> Decimal | None:
        """A number from 0 to `most`."""
        value = self._get(name, required=required)
        if value is None:
            return None
        read = _decimal(value, decimals)
        if read is None:
            self.problem(name, f"must be a number with at most {decimals} decimals")
        elif read < 0:
            self.problem(name, "must not be negative")
        elif read > most:
            self.problem(name, f"must be at most {most}")
        else:
            return read
        return None

    def whole(self, name: str) -> int | None:
        """A whole number from 0 on."""
        read = self.number(name)
        if read is None:
            return None
        if read != int(read):
            self.problem(name, "must be a whole number")
            return None
        return int(read)

    def time_of_day(self, name: str) -> time | None:
        """A local time as HH:MM."""
        value = self._get(name)
        if value is None:
            return None
        if not isinstance(value, str) or not _TIME.fullmatch(value):
            self.problem(name, "must be a time of day as HH:MM, 00:00 to 23:59")
            return None
        return time(int(value[:2]), int(value[3:]))

    def day(self, name: str) -> date | None:
        """A date as YYYY-MM-DD."""
        value = self._get(name)
        if value is None:
            return None
        try:
            return date.fromisoformat(value if isinstance(value, str) and _DATE.fullmatch(value) else "")
        except ValueError:
            self.problem(name, "must be a date as YYYY-MM-DD")
            return None

    def moment(self, name: str) -> datetime | None:
        """An RFC 3339 time; without an offset it is in UTC, as OCPI has it."""
        value = self._get(name)
        if value is None:
            return None
        try:
            read = datetime.fromisoformat(value if isinstance(value, str) else "")
            return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            self.problem(name, "must be an RFC 3339 date and time")
            return None

    def child(self, name: str) -> "Fields | None":
        """The object in a field."""
        value = self._get(name)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            self.problem(name, "must be an object")
            return None
        return Fields(value, self._at(name), self._problems)

    def objects(self, name: str, most: int, *, least: int = 1) -> "Iterator[Fields]":
        """The objects in a list of `least` to `most`."""
        value = self._get(name, required=least > 0)
        if value is None:
            return
        if not isinstance(value, list | tuple) or not least <= len(value) <= most:
            self.problem(name, f"must be a list of {least} to {most} objects")
            return
        for index, each in enumerate(value):
            if isinstance(each, Mapping):
                yield Fields(each, f"{self._at(name)}[{index}]", self._problems)
            else:
                self.problem(f"{name}[{index}]", "must be an object")

    def _at(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def _get(self, name: str, *, required: bool = False) -> object:
        value = self._values.get(name)
        if value is None and required:
            self.problem(name, "is required")
        return value


def _decimal(value: object, most_decimals: int) -> Decimal | None:
    """Exact from int and Decimal, by its shortest text from float, never from bool; None: no number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    if isinstance(value, int):
        return Decimal(value) if abs(value) <= MAX_NUMBER * 10 else MAX_NUMBER * 10 * (1 if value > 0 else -1)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    text = str(value)
    if not _NUMBER.fullmatch(text):
        return None
    try:
        read = Decimal(text)
    except InvalidOperation:
        return None
    decimals = read.as_tuple().exponent
    return read if isinstance(decimals, int) and decimals >= -most_decimals else None
