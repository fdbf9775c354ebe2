"""From a JSON object to a tariff: strict, and all problems at once, each with the name of its field."""

from collections.abc import Mapping
from decimal import Decimal

from app.domain.money import is_currency
from app.domain.tariff.model import (
    Dimension,
    Element,
    PriceComponent,
    PriceLimit,
    Restrictions,
    Tariff,
    TaxIncluded,
)
from app.domain.tariff.reader import FieldProblem, Fields, Problems

MAX_ELEMENTS = 100
MAX_COMPONENTS = 20
MAX_TAXES = 20
ENERGY_DECIMALS = 9
"""A threshold of energy is a whole number of W x µs then, which is what forecasts count in."""
RESERVATION_KINDS = ("RESERVATION", "RESERVATION_EXPIRES")
WEEKDAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")

__all__ = ["FieldProblem", "InvalidTariff", "parse_tariff"]


class InvalidTariff(ValueError):
    """The object is no tariff that we can use; `problems` names every field that is wrong."""

    def __init__(self, problems: tuple[FieldProblem, ...]) -> None:
        super().__init__("; ".join(f"{problem.field}: {problem.message}" for problem in problems))
        self.problems = problems


def parse_tariff(obj: object) -> Tariff:
    """Read an OCPI 2.3.0 (or 2.2.1) Tariff object as decoded from JSON; raises InvalidTariff, nothing else.

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
    """2.3.0 names the sides before_taxes and after_taxes (or lists taxes), 2.2.1 excl_vat and incl_vat."""
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
