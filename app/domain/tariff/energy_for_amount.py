"""The energy that an amount buys at worst."""

from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from app.domain.tariff.model import Dimension, Tariff
from app.domain.tariff.rates import Rates, rates_of
from app.domain.tariff.restricted_forecast import (
    Options,
    bands_of,
    is_energy_always_priced,
    options_at_any_time,
    worst_of,
)
from app.domain.tariff.time_windows import SCALE
from app.domain.units.money import to_major


@lru_cache(maxsize=1024)
def energy_for_amount(
    tariff: Tariff, amount_minor: int, *, least_power_w: int | None = None, parked_s: int = 0
) -> int | None:
    """Computes the Wh that an amount buys at the highest prices. Of all that may come to be in force, rounded down.

    None: energy costs nothing, so the amount sets no bound. All flat fees that may ever apply, and steps of
    time, are taken off first. Assumptions: minutes are counted as if the car drew `least_power_w`
    throughout (None: minutes are not counted), and it stays connected without charging for `parked_s`.
    """
    rates = rates_of(tariff)
    amount = Fraction(to_major(amount_minor, tariff.currency))
    if rates.most_total is not None and rates.most_total <= amount:
        return None
    if rates.least_total is not None and rates.least_total > amount:
        return 0
    return _bought(rates, amount, least_power_w, parked_s)


def counts_everything(tariff: Tariff) -> bool:
    """Whether energy and flat fees alone decide the cost. Then no minute costs anything."""
    timed = (Dimension.TIME, Dimension.PARKING_TIME)
    return not any(
        rate.gross for each in rates_of(tariff).elements for kind, rate in each.rates.items() if kind in timed
    )


def one_energy_price(tariff: Tariff) -> bool:
    """Whether a Wh always costs the same. Then an amount stands for an energy."""
    rates = rates_of(tariff)
    return rates.plain_prices is not None


def _bought(rates: Rates, amount: Fraction, least_power_w: int | None, parked_s: int) -> int | None:
    bands = bands_of(rates)
    by_band = [options_at_any_time(rates, start) for start in bands]
    worst = worst_of(by_band)
    fixed = sum(number for _, number in worst.flats) + worst.parking * parked_s
    if least_power_w is not None or parked_s:
        fixed += worst.time_surplus
    left = amount - Fraction(fixed, rates.denominator)
    if left < 0:
        return 0
    steps = _steps_of_all_energy(rates, bands)
    if steps is None:  # whatever a step adds is paid for first; energy that costs nothing needs no step
        left = max(Fraction(0), left - Fraction(worst.energy_surplus, rates.denominator))
    energy_wh = _fill(left, bands, [_per_wh(each, rates, least_power_w) for each in by_band])
    return None if energy_wh is None else max(0, int(energy_wh // (steps or 1)) * (steps or 1))


def _steps_of_all_energy(rates: Rates, bands: list[int]) -> int | None:
    """Returns the energy step in Wh that every other step divides. All energy is then rounded as one sum. None: it may
    be that only a part is, from wherever it begins to have a price, or that steps do not fit into each other."""
    steps = sorted(
        {each.rates[Dimension.ENERGY].step for each in rates.elements if Dimension.ENERGY in each.rates}
    )
    if not all(is_energy_always_priced(rates, band) for band in bands):
        return None
    return steps[-1] if all(large % small == 0 for small, large in pairwise(steps)) else None


def _per_wh(here: Options, rates: Rates, least_power_w: int | None) -> Fraction:
    """Returns a Wh's price with its time at the least power."""
    energy = Fraction(here.energy, rates.denominator)
    if not least_power_w:
        return energy
    return energy + Fraction(here.time, rates.denominator) * 3600 / least_power_w


def _fill(left: Fraction, bands: list[int], prices: list[Fraction]) -> Fraction | None:
    """Spend the amount band after band, in Wh; None: the rest costs nothing."""
    for start, end, price in zip(bands, [*bands[1:], None], prices, strict=True):
        width = None if end is None else Fraction(end - start, SCALE)
        if width is None or price * width > left:
            return Fraction(start, SCALE) + left / price if price else None
        left -= price * width
    return None
