"""How fast a battery takes energy: power over state of charge, solved in closed form.

Between two points of a curve the power is linear in the energy stored, so the energy is an exponential in
time. Nothing is stepped: an hour costs as much as a second, and the same question always has the same answer.
Floats are right in here: this is physics; what leaves it is rounded to whole watt-hours by the meter.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

FLOOR_W = 200.0
"""A real car never tapers to nothing; without a floor a curve that ends at 0 W would never be full."""
_FLAT = 1e-12


@dataclass(frozen=True, slots=True)
class PowerCurve:
    """`energies_wh` rise strictly from 0 to the size of the battery; `powers_w` belong to them."""

    energies_wh: tuple[float, ...]
    powers_w: tuple[float, ...]

    @property
    def battery_wh(self) -> float:
        return self.energies_wh[-1]

    def power_at(self, energy_wh: float) -> float:
        """W taken when `energy_wh` are stored; 0 when full."""
        if energy_wh >= self.battery_wh:
            return 0.0
        index = self._segment(energy_wh)
        return self.powers_w[index] + self._slope(index) * (energy_wh - self.energies_wh[index])

    def energy_after(self, energy_wh: float, hours: float) -> float:
        """Wh stored after `hours` of charging at full capability, at most the size of the battery."""
        stored = energy_wh
        for index in range(self._segment(stored), len(self.energies_wh) - 1):
            end_wh = self.energies_wh[index + 1]
            needed = self._hours_within(index, stored, end_wh)
            if hours < needed:
                return self._grown(index, stored, hours)
            hours -= needed
            stored = end_wh
        return stored

    def hours_to(self, energy_wh: float, target_wh: float) -> float:
        """Hours of charging at full capability until `target_wh` are stored; infinite beyond the battery."""
        if target_wh > self.battery_wh:
            return math.inf
        stored, hours = energy_wh, 0.0
        for index in range(self._segment(stored), len(self.energies_wh) - 1):
            if target_wh <= stored:
                break
            end_wh = min(target_wh, self.energies_wh[index + 1])
            hours += self._hours_within(index, stored, end_wh)
            stored = end_wh
        return hours

    def _segment(self, energy_wh: float) -> int:
        last = len(self.energies_wh) - 2
        return next((i for i in range(last) if energy_wh < self.energies_wh[i + 1]), last)

    def _slope(self, index: int) -> float:
        width = self.energies_wh[index + 1] - self.energies_wh[index]
        return (self.powers_w[index + 1] - self.powers_w[index]) / width

    def _power_within(self, index: int, energy_wh: float) -> float:
        return self.powers_w[index] + self._slope(index) * (energy_wh - self.energies_wh[index])

    def _hours_within(self, index: int, from_wh: float, to_wh: float) -> float:
        slope, power = self._slope(index), self._power_within(index, from_wh)
        if abs(slope) < _FLAT:
            return (to_wh - from_wh) / power
        return math.log1p(slope * (to_wh - from_wh) / power) / slope

    def _grown(self, index: int, stored_wh: float, hours: float) -> float:
        slope, power = self._slope(index), self._power_within(index, stored_wh)
        if abs(slope) < _FLAT:
            return stored_wh + power * hours
        return stored_wh + power / slope * math.expm1(slope * hours)


def power_curve(points: Sequence[tuple[float, float]], battery_wh: float, cap_w: float) -> PowerCurve:
    """A car's `points` [(state of charge in %, W)] behind a charger that gives at most `cap_w`."""
    nodes = [(percent / 100 * battery_wh, power) for percent, power in points]
    energies: list[float] = []
    powers: list[float] = []
    for position, (energy, power) in enumerate(nodes):
        if position:
            crossing = _crossing(nodes[position - 1], (energy, power), cap_w)
            if crossing is not None:
                energies.append(crossing)
                powers.append(cap_w)
        energies.append(energy)
        powers.append(max(FLOOR_W, min(cap_w, power)))
    return PowerCurve(tuple(energies), tuple(powers))


def _crossing(left: tuple[float, float], right: tuple[float, float], cap_w: float) -> float | None:
    """Where the line between two nodes passes `cap_w`, strictly inside; None when it does not."""
    if (left[1] - cap_w) * (right[1] - cap_w) >= 0:
        return None
    return left[0] + (right[0] - left[0]) * (cap_w - left[1]) / (right[1] - left[1])
