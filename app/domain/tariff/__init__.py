"""OCPI 2.3.0 tariffs: what a session costs, and what an amount buys."""

from app.domain.tariff.energy_for_amount import energy_for_amount
from app.domain.tariff.model import (
    Dimension,
    Element,
    MeterPoint,
    PriceComponent,
    PriceLimit,
    Reading,
    Restrictions,
    Tariff,
    TaxIncluded,
)
from app.domain.tariff.parse import FieldProblem, InvalidTariff, parse_tariff
from app.domain.tariff.price import Period, PeriodKind, Price, price
from app.domain.tariff.upper_bound import upper_bound

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
    "energy_for_amount",
    "parse_tariff",
    "price",
    "upper_bound",
]
