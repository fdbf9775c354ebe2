"""Energy: integers in watt-hours, and the one rounding between kWh and Wh."""

from decimal import Decimal

from app.domain.money import EXACT, Rounding, round_to_int


def kwh_to_wh(energy_kwh: Decimal, rounding: Rounding) -> int:
    """kWh to Wh, rounded as named: 1.2345 kWh is 1234 DOWN and 1235 UP."""
    return round_to_int(energy_kwh.scaleb(3, context=EXACT), rounding)


def wh_to_kwh(energy_wh: int) -> Decimal:
    """Wh to kWh, exact: 1234 Wh is 1.234 kWh."""
    return Decimal(energy_wh).scaleb(-3, context=EXACT)


def energy_up_wh(power_w: int, seconds: int) -> int:
    """The energy of `power_w` over `seconds`, in Wh, rounded up."""
    return -(-power_w * seconds // 3600)
