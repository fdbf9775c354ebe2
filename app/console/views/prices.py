"""Says a tariff in a few words."""

from app.domain.tariff.model import Dimension, PriceComponent, Restrictions
from app.store.operators.charge_points import TariffFound

UNITS = {
    Dimension.ENERGY: "a kWh",
    Dimension.FLAT: "a session",
    Dimension.TIME: "an hour charging",
    Dimension.PARKING_TIME: "an hour parked",
}


def price_words(found: TariffFound | None) -> str:
    """The first price of each kind, in major units: `0.49 EUR a kWh`. Says when there are others, or conditions."""
    if found is None:
        return "not known"
    elements = found.tariff.elements
    first: dict[Dimension, PriceComponent] = {}
    for component in (c for element in elements for c in element.components):
        first.setdefault(component.dimension, component)
    parts = [
        f"{first[kind].price:f} {found.tariff.currency} {unit}"
        for kind, unit in UNITS.items()
        if kind in first
    ]
    conditional = any(element.restrictions != Restrictions() for element in elements)
    return ", ".join(parts) + ("; with conditions" if conditional else "")
