"""Converts the simulator's price groups to OCPI tariffs. So drivers see what Monta charges."""

from decimal import Decimal

from app.demo.stories import CURRENCY
from app.simulator.charge_points import MAGIC_POINTS, NORMAL_POINTS, PRICE_GROUPS
from app.simulator.site.prices import PriceGroup

HOUR_MIN = 60
MINUTE_S = 60

GROUPS: dict[int, PriceGroup] = {group.id: group for group in PRICE_GROUPS}
GROUP_OF_POINT: dict[str, int] = {str(p.id): p.price_group_id for p in (*NORMAL_POINTS, *MAGIC_POINTS)}
"""Every charge point of the simulator and its price group."""


def ocpi_tariff(group: PriceGroup) -> dict[str, object]:
    """Builds an OCPI 2.3.0 Tariff with taxes included, never cheaper than `group`. Prices as text, exact.

    OCPI counts the free minutes of a fee from the session's start, Monta those of the idle fee from the end of
    charging: ours begins earlier, so the limit stays on the safe side.
    """
    elements = [
        _timed("TIME", group.minute_fee, group.minute_fee_after_min),
        _timed("PARKING_TIME", group.idle_fee, group.idle_fee_after_min),
        {"price_components": [_component("ENERGY", group.kwh_price), *_start(group)]},
    ]
    return {
        "country_code": "DK",
        "party_id": "BOX",
        "id": str(group.id),
        "currency": CURRENCY,
        "tax_included": "YES",
        "elements": [element for element in elements if element],
    }


def _start(group: PriceGroup) -> list[dict[str, object]]:
    return [_component("FLAT", group.start_fee)] if group.start_fee else []


def _timed(kind: str, minute_fee: Decimal, after_min: int) -> dict[str, object]:
    """Returns the element of a fee, priced per hour as in OCPI. None for no fee."""
    if not minute_fee:
        return {}
    element: dict[str, object] = {"price_components": [_component(kind, minute_fee * HOUR_MIN)]}
    if after_min:
        element["restrictions"] = {"min_duration": after_min * MINUTE_S}
    return element


def _component(kind: str, price: Decimal) -> dict[str, object]:
    return {"type": kind, "price": str(price), "step_size": 1}
