"""Whether a tariff that nobody told us, but that we guess from Monta's price group, can be what is charged."""

from decimal import Decimal

from app.domain.guards import MONTA_LEAST_KWH, affordable_wh
from app.domain.plausible import UNIT_FACTOR
from app.domain.tariff import Tariff
from app.domain.tariff.model import Dimension
from app.domain.tariff.rates import rates_of


def why_unlikely(tariff: Tariff, reserved_minor: int, learned_kwh_price: Decimal | None) -> str | None:
    """In words, why the guess is dropped: its price of a kWh is off by a factor as only a mix-up of units is, by what a
    kWh cost here lately (major units); where nothing is known of that, when the reservation would not even buy the
    least that Monta sells. None: nothing speaks against it."""
    prices = [
        each.rates[Dimension.ENERGY].gross * 1000
        for each in rates_of(tariff).elements
        if Dimension.ENERGY in each.rates
    ]
    if learned_kwh_price is not None and learned_kwh_price > 0 and prices:
        if (
            not learned_kwh_price / UNIT_FACTOR <= max(prices)
            or min(prices) > learned_kwh_price * UNIT_FACTOR
        ):
            return (
                f"Monta's price group is not believed: {float(max(prices)):.4f} a kWh at most, where a kWh lately cost"
                f" {learned_kwh_price}"
            )
        return None
    bought_wh = affordable_wh(tariff, reserved_minor)
    if bought_wh is not None and bought_wh < MONTA_LEAST_KWH * 1000:
        return f"Monta's price group is not believed: by it the reservation buys {bought_wh} Wh"
    return None
