"""The price to show: an OCPI Tariff object with numbers as numbers and every field that OCPI requires."""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from app.api.money_views import rfc3339
from app.domain.tariff import Tariff

NOBODYS_COUNTRY, NOBODYS_PARTY = "XX", "TWT"
"""Stand in where a tariff names no party: Monta's price groups, and most tariffs that people set, do not."""

NUMBERS = frozenset(
    {
        *("price", "vat", "before_taxes", "after_taxes", "excl_vat", "incl_vat", "step_size"),
        *("min_kwh", "max_kwh", "min_current", "max_current", "min_power", "max_power"),
        *("min_duration", "max_duration"),
    }
)
"""Fields that OCPI has as numbers; a tariff may have been given with text in them."""


def price_out(tariff: Tariff, as_of: datetime | None) -> dict[str, object]:
    """The tariff as it was given, completed. `as_of`: when it was set or read."""
    given = {name: _shown(name, value) for name, value in tariff.source.items() if value is not None}
    required: dict[str, object] = {
        "country_code": tariff.country_code or NOBODYS_COUNTRY,
        "party_id": tariff.party_id or NOBODYS_PARTY,
        "id": tariff.id or "tariff",
        "currency": tariff.currency,
        "tax_included": str(tariff.tax_included),
    }
    updated = {"last_updated": rfc3339(as_of)} if as_of is not None else {}
    return {**required, **updated, **given, "elements": [_element(e) for e in _objects(given["elements"])]}


def _element(element: Mapping[str, object]) -> dict[str, object]:
    components = [{"step_size": 1} | dict(c) for c in _objects(element["price_components"])]
    return {**element, "price_components": components}


def _objects(value: object) -> list[Mapping[str, object]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _shown(name: str, value: object) -> object:
    if isinstance(value, Mapping):
        return {inner: _shown(inner, child) for inner, child in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(name, child) for child in value]
    if isinstance(value, str) and name in NUMBERS and re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", value):
        return _number(Decimal(value))
    return _number(value) if isinstance(value, Decimal) else value


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)
