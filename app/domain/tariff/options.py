"""Which prices may be in force in one cell of time and one band of energy when the power is not known."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, reduce

from app.domain.tariff.model import Dimension, Restrictions
from app.domain.tariff.rates import Rates
from app.domain.tariff.span import SCALE
from app.domain.tariff.windows import asks_for_power, depends_on_time, energy_allows


@dataclass(frozen=True, slots=True)
class Options:
    """The highest prices that may be in force, as whole numbers over the tariff's denominator.

    `flats`: elements whose flat fee may fall due. `energy_surplus` and `time_surplus`: the most that rounding
    up to a step may add, for one step's Wh or seconds.
    """

    energy: int = 0
    time: int = 0
    parking: int = 0
    flats: frozenset[tuple[int, int]] = frozenset()
    energy_surplus: int = 0
    time_surplus: int = 0

    def worse(self, other: "Options") -> "Options":
        """The worst of both."""
        if other is self or other == self:
            return self
        return Options(
            max(self.energy, other.energy),
            max(self.time, other.time),
            max(self.parking, other.parking),
            self.flats | other.flats,
            max(self.energy_surplus, other.energy_surplus),
            max(self.time_surplus, other.time_surplus),
        )


NOTHING = Options()


def worst_of(several: Iterable[Options]) -> Options:
    """The worst of any number."""
    return reduce(Options.worse, several, NOTHING)


def bands_of(rates: Rates) -> list[int]:
    """Where bands of energy start, in W x µs: at 0 and at each least or most kWh of an element."""
    thresholds = {
        int(Fraction(each) * 1000 * SCALE)
        for restrictions in rates.restrictions
        for each in (restrictions.min_kwh, restrictions.max_kwh)
        if each is not None
    }
    return sorted({0} | thresholds)


@lru_cache(maxsize=8192)
def options(rates: Rates, active: tuple[int, ...], energy: int, most_power_w: int | None) -> Options:
    """What may be in force among the elements that time allows, at an energy (W x µs), up to a power."""
    return _options(rates, active, energy, most_power_w, any_time=False)


def options_at_any_time(rates: Rates, energy: int) -> Options:
    """What may be in force at an energy (W x µs) at some time and power."""
    return _options(rates, tuple(range(len(rates.elements))), energy, None, any_time=True)


def is_energy_always_priced(rates: Rates, energy: int) -> bool:
    """Whether energy has a price at this energy (W x µs) at any time and power, be it nothing."""
    return any(
        Dimension.ENERGY in each.rates
        and energy_allows(each.restrictions, Fraction(energy, SCALE))
        and not (asks_for_power(each.restrictions) or depends_on_time(each.restrictions))
        for each in rates.elements
    )


def _options(
    rates: Rates, active: tuple[int, ...], energy: int, most_power_w: int | None, *, any_time: bool
) -> Options:
    found: dict[Dimension, list[tuple[int, int, int]]] = {each: [] for each in Dimension}
    settled: set[Dimension] = set()
    for index in active:
        element = rates.elements[index]
        if not energy_allows(element.restrictions, Fraction(energy, SCALE)):
            continue
        if not _power_may_allow(element.restrictions, most_power_w):
            continue
        for dimension, rate in element.rates.items():
            if dimension not in settled:
                found[dimension].append((int(rate.gross * rates.denominator), rate.step, index))
        if not (asks_for_power(element.restrictions) or (any_time and depends_on_time(element.restrictions))):
            settled |= element.rates.keys()
    return _worst(found)


def _worst(found: dict[Dimension, list[tuple[int, int, int]]]) -> Options:
    def highest(dimension: Dimension) -> int:
        return max((number for number, _, _ in found[dimension]), default=0)

    def surplus(*dimensions: Dimension) -> int:
        return max((number * step for each in dimensions for number, step, _ in found[each]), default=0)

    return Options(
        energy=highest(Dimension.ENERGY),
        time=highest(Dimension.TIME),
        parking=highest(Dimension.PARKING_TIME),
        flats=frozenset((index, number) for number, _, index in found[Dimension.FLAT]),
        energy_surplus=surplus(Dimension.ENERGY),
        time_surplus=surplus(Dimension.TIME, Dimension.PARKING_TIME),
    )


def _power_may_allow(restrictions: Restrictions, most_power_w: int | None) -> bool:
    """A current is never known here: only a least power above the highest possible rules an element out."""
    least = restrictions.min_power_kw
    return most_power_w is None or least is None or Fraction(least) * 1000 <= most_power_w
