"""app/api/money_views: The price to show is a whole OCPI Tariff with numbers in it, wherever it comes from (F117)."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.api.models.charge_points import ChargePointOut
from app.api.money_views import NUMBERS, price_out
from app.domain.charging.price_group import Money, PriceGroup, Pricing, PricingType, to_tariff
from app.domain.tariff import parse_tariff

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
REQUIRED = {"country_code", "party_id", "id", "currency", "tax_included", "elements", "last_updated"}

amounts = st.decimals(0, 1000, places=4, allow_nan=False)


def shown(source: dict[str, object]) -> dict[str, Any]:
    """As it leaves us."""
    price = price_out(parse_tariff(source), NOW)
    point = ChargePointOut(id="101", name=None, state=None, connectors=[], max_power_w=None, price=price)
    found: dict[str, Any] = json.loads(point.model_dump_json())["price"]
    return found


def numbers_in(value: Any, name: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [found for inner, child in value.items() for found in numbers_in(child, inner)]
    if isinstance(value, list):
        return [found for child in value for found in numbers_in(child, name)]
    return [(name, value)] if name in NUMBERS else []


@given(amounts, amounts, st.integers(0, 60))
def test_F117_a_converted_price_is_whole_and_has_json_numbers(
    kwh: Decimal, minute: Decimal, free: int
) -> None:
    group = PriceGroup(
        id="7",
        name="day",
        master=Pricing(type=PricingType.KWH, price=Money(amount=kwh, currency="EUR")),
        fees=(Pricing(type=PricingType.MINUTE, price=Money(amount=minute, currency="EUR"), after_min=free),),
    )
    converted = to_tariff(group).tariff
    assert converted is not None
    price = shown(dict(converted))
    assert set(price) >= REQUIRED
    for name, value in numbers_in(price):
        assert isinstance(value, int | float), (name, value)
    for element in price["elements"]:
        for component in element["price_components"]:
            assert set(component) >= {"type", "price", "step_size"}
    assert parse_tariff(price).elements == parse_tariff(dict(converted)).elements
    energy = price["elements"][0]["price_components"][0]
    assert Decimal(str(energy["price"])) == kwh


def test_F117_what_a_tariff_says_itself_is_kept_and_its_texts_become_numbers() -> None:
    source: dict[str, object] = {
        "country_code": "DK",
        "party_id": "MON",
        "id": "T1",
        "currency": "DKK",
        "tax_included": "NO",
        "last_updated": "2026-01-01T00:00:00Z",
        "min_price": {"before_taxes": "5.00", "after_taxes": "6.25"},
        "elements": [
            {
                "price_components": [{"type": "ENERGY", "price": "2.50", "vat": Decimal("25.0")}],
                "restrictions": {"max_kwh": "10", "start_time": "08:00"},
            }
        ],
        "party_note": "0123",
    }
    assert shown(source) == {
        **source,
        "min_price": {"before_taxes": 5, "after_taxes": 6.25},
        "elements": [
            {
                "price_components": [{"type": "ENERGY", "price": 2.5, "vat": 25, "step_size": 1}],
                "restrictions": {"max_kwh": 10, "start_time": "08:00"},
            }
        ],
    }
