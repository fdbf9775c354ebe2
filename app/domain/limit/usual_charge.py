"""Suggests a hold that pays for a usual charge."""

from decimal import Decimal

from app.domain.charging.charge_point import CurrentType
from app.domain.tariff.shown_price import ShownPrice
from app.domain.units.money import Rounding, exponent, round_to_int

USUAL_WH = {CurrentType.AC: 25_000, CurrentType.DC: 45_000}
"""Energy of a usual charge; public charges seldom take more."""
USUAL_W = {CurrentType.AC: 11_000, CurrentType.DC: 60_000}
"""Power of a usual car there, where the charge point has as much."""
DC_FROM_W = 44_000
"""A charge point of unknown type with more power is a DC one."""


def suggested_amount(price: ShownPrice, kind: CurrentType | None, max_power_w: int | None) -> int:
    """Suggests a hold, in minor units, that pays for a usual charge at the highest prices.

    Rounded up to two digits, and at least one major unit, the least that Monta limits a charge to.
    """
    kind = kind or (CurrentType.DC if (max_power_w or 0) >= DC_FROM_W else CurrentType.AC)
    power_w = min(USUAL_W[kind], max_power_w or USUAL_W[kind])
    minutes = Decimal(USUAL_WH[kind]) * 60 / power_w
    most = price.most
    exact = most.per_session + most.per_kwh * USUAL_WH[kind] / 1000 + most.per_minute * minutes
    amount = max(round_to_int(exact, Rounding.UP), int(10 ** exponent(price.currency)))
    unit = int(10 ** max(0, len(str(amount)) - 2))
    return -(-amount // unit) * unit
