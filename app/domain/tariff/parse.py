"""Parses JSON into a tariff, and reports every problem with its field."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation

from app.domain.tariff.model import (
    Dimension,
    Element,
    PriceComponent,
    PriceLimit,
    Restrictions,
    Tariff,
    TaxIncluded,
)
from app.domain.units.frozen import frozen
from app.domain.units.money import is_currency

MAX_NUMBER = Decimal(10) ** 9
MAX_DECIMALS = 20
_NUMBER = re.compile(r"-?\d{1,12}(\.\d{1,30})?([eE][+-]?\d{1,2})?", re.ASCII)
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


@frozen
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
        """An RFC 3339 time. Without an offset it is in UTC, as OCPI has it."""
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
    """Converts a number exactly; None: it is no number. From int and Decimal, from float by its shortest text, never
    from bool."""
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


MAX_ELEMENTS = 100
MAX_COMPONENTS = 20
ENERGY_DECIMALS = 9
"""A threshold of energy is a whole number of W x µs then, which is what forecasts count in."""
RESERVATION_KINDS = ("RESERVATION", "RESERVATION_EXPIRES")
WEEKDAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")


class InvalidTariff(ValueError):
    """The object is no tariff that we can use. `problems` names every field that is wrong."""

    def __init__(self, problems: tuple[FieldProblem, ...]) -> None:
        super().__init__("; ".join(f"{problem.field}: {problem.message}" for problem in problems))
        self.problems = problems


def parse_tariff(obj: object) -> Tariff:
    """Read an OCPI 2.3.0 (or 2.2.1) Tariff object as decoded from JSON. Raises InvalidTariff, nothing else.

    Numbers may be int, Decimal, float or numeric text. Texts for people are ignored, and kept in `source`.
    """
    problems = Problems()
    if not isinstance(obj, Mapping):
        problems.add("tariff", "must be a JSON object")
        raise InvalidTariff(problems.found)
    fields = Fields(obj, "", problems)
    tariff = _tariff(fields, obj)
    if problems.found:
        raise InvalidTariff(problems.found)
    return tariff


def _tariff(fields: Fields, obj: Mapping[str, object]) -> Tariff:
    elements = tuple(_element(each) for each in fields.objects("elements", MAX_ELEMENTS))
    min_price, max_price = _price_limit(fields, "min_price"), _price_limit(fields, "max_price")
    _check_order(fields, min_price, max_price)
    tax = fields.choice("tax_included", tuple(TaxIncluded))
    return Tariff(
        id=fields.text("id", 36) or "",
        currency=_currency(fields),
        elements=elements,
        tax_included=TaxIncluded(tax or TaxIncluded.NO),
        min_price=min_price,
        max_price=max_price,
        type=fields.text("type", 40),
        country_code=fields.text("country_code", 2),
        party_id=fields.text("party_id", 3),
        start_date_time=fields.moment("start_date_time"),
        end_date_time=fields.moment("end_date_time"),
        source=obj,
    )


def _currency(fields: Fields) -> str:
    code = fields.text("currency", 3, required=True)
    if code is not None and not is_currency(code):
        fields.problem("currency", "must be an active ISO 4217 code in capitals, for example EUR")
    return code or ""


def _element(fields: Fields) -> Element:
    components = tuple(_component(each) for each in fields.objects("price_components", MAX_COMPONENTS))
    seen = [component.dimension for component in components]
    if len(set(seen)) < len(seen):
        fields.problem("price_components", "must not name a type twice")
    restrictions = fields.child("restrictions")
    if restrictions is None:
        return Element(components=components)
    return Element(components=components, restrictions=_restrictions(restrictions))


def _component(fields: Fields) -> PriceComponent:
    kind = fields.choice("type", tuple(Dimension), required=True)
    return PriceComponent(
        dimension=Dimension(kind or Dimension.FLAT),
        price=fields.number("price", required=True) or Decimal(0),
        vat=fields.number("vat", most=Decimal(1000)),
        # The specification's own free tariff has a step size of 0; it means no steps.
        step_size=max(1, fields.whole("step_size") or 1),
    )


def _restrictions(fields: Fields) -> Restrictions:
    return Restrictions(
        start_time=fields.time_of_day("start_time"),
        end_time=fields.time_of_day("end_time"),
        start_date=fields.day("start_date"),
        end_date=fields.day("end_date"),
        min_kwh=fields.number("min_kwh", decimals=ENERGY_DECIMALS),
        max_kwh=fields.number("max_kwh", decimals=ENERGY_DECIMALS),
        min_current_a=fields.number("min_current"),
        max_current_a=fields.number("max_current"),
        min_power_kw=fields.number("min_power"),
        max_power_kw=fields.number("max_power"),
        min_duration_s=fields.whole("min_duration"),
        max_duration_s=fields.whole("max_duration"),
        weekdays=frozenset(WEEKDAYS.index(day) for day in fields.choices("day_of_week", WEEKDAYS)),
        reservation=fields.choice("reservation", RESERVATION_KINDS),
    )


def _price_limit(fields: Fields, name: str) -> PriceLimit | None:
    """Reads a price limit in the words of 2.3.0 or 2.2.1. 2.3.0 names the sides before_taxes and after_taxes (or lists
    taxes), 2.2.1 excl_vat and incl_vat."""
    limit = fields.child(name)
    if limit is None:
        return None
    before = limit.number("before_taxes") if limit.has("before_taxes") else limit.number("excl_vat")
    total = limit.number("after_taxes") if limit.has("after_taxes") else limit.number("incl_vat")
    if total is None and before is not None and limit.has("taxes"):
        total = before + sum(
            (
                each.number("amount", required=True) or Decimal(0)
                for each in limit.objects("taxes", 20, least=0)
            ),
            Decimal(0),
        )
    if before is None and total is None and not limit.broken:
        fields.problem(name, "must hold before_taxes or after_taxes")
    return PriceLimit(before_tax=before, total=total)


def _check_order(fields: Fields, least: PriceLimit | None, most: PriceLimit | None) -> None:
    if least is None or most is None:
        return
    for low, high in ((least.before_tax, most.before_tax), (least.total, most.total)):
        if low is not None and high is not None and low > high:
            fields.problem("min_price", "must not be above max_price")
            return
