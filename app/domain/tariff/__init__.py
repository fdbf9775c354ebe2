"""Tariffs: the OCPI 2.3.0 Tariff object, what a session costs or may cost, and what an amount buys."""

from app.domain.tariff.bought import energy_bought
from app.domain.tariff.bound import upper_bound
from app.domain.tariff.model import (
    Dimension,
    Element,
    PriceComponent,
    PriceLimit,
    Restrictions,
    Tariff,
    TaxIncluded,
)
from app.domain.tariff.parse import FieldProblem, InvalidTariff, parse_tariff
from app.domain.tariff.price import Period, PeriodKind, Price, price, total_minor
from app.domain.tariff.reading import MeterPoint, Reading

__all__ = [
    "Dimension",
    "Element",
    "FieldProblem",
    "InvalidTariff",
    "MeterPoint",
    "Period",
    "PeriodKind",
    "Price",
    "PriceComponent",
    "PriceLimit",
    "Reading",
    "Restrictions",
    "Tariff",
    "TaxIncluded",
    "energy_bought",
    "parse_tariff",
    "price",
    "total_minor",
    "upper_bound",
]
