"""Says a tariff in a few words."""

from app.domain.tariff import Dimension, Tariff
from app.store.operators.charge_points import TariffFound

UNITS = {
    Dimension.FLAT: "a session",
    Dimension.ENERGY: "a kWh",
    Dimension.TIME: "an hour charging",
    Dimension.PARKING_TIME: "an hour parked",
}


def price_words(found: TariffFound | None) -> str:
    """The components that hold first, in major units: `0.49 EUR a kWh`. Says when others hold at other times."""
    if found is None:
        return "not known"
    tariff: Tariff = found.tariff
    parts = [
        f"{component.price:f} {tariff.currency} {UNITS[component.dimension]}"
        for component in tariff.elements[0].components
    ]
    varies = len(tariff.elements) > 1
    return ", ".join(parts) + ("; varies" if varies else "")
