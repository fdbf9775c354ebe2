"""Vehicles and the charging curves of their batteries."""

import math
from collections.abc import Sequence
from fractions import Fraction

from app.domain.units.frozen import frozen

FLOOR_W = 200.0
"""Lowest power in W of a car that is not full. With 0 W at the end of a curve it would never be full."""
_FLAT = 1e-12


@frozen
class PowerCurve:
    """`energies_wh` rise strictly from 0 to the size of the battery. `powers_w` belong to them."""

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
        """Returns the Wh stored after `hours` of charging at full capability. At most the size of the battery."""
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
        """Hours of charging at full capability until `target_wh` are stored. Infinite beyond the battery."""
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
    """Builds the power curve of a car at a charger. `points`: [(state of charge in %, W)]. The charger gives at most
    `cap_w`."""
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
    """Returns where the line between two nodes passes `cap_w`, strictly inside. None when it does not."""
    if (left[1] - cap_w) * (right[1] - cap_w) >= 0:
        return None
    return left[0] + (right[0] - left[0]) * (cap_w - left[1]) / (right[1] - left[1])


@frozen
class Vehicle:
    """A model of car. `ac_w` is the power of its on-board charger, `dc_curve` that of its battery."""

    name: str
    battery_wh: int
    ac_w: int
    dc_curve: tuple[tuple[float, float], ...]

    def curve(self, charger_w: int, *, direct_current: bool) -> PowerCurve:
        """What this car takes from a charger of `charger_w`."""
        cap_w = charger_w if direct_current else min(charger_w, self.ac_w)
        return power_curve(self.dc_curve, self.battery_wh, cap_w)


_TABLE = """
Aiways U5 | 63000 | 6600 | 0:95 18:90 40:90 80:50 100:6.6
Aiways U5 (2020) | 63000 | 6600 | 0:95 18:90 40:90 80:50 100:6.6
Audi Q4 Sportback e-tron 50 quattro | 77000 | 11000 | 0:125 35:125 70:65 80:65 100:25
Audi Q4 e-tron 50 quattro | 77000 | 11000 | 0:125 35:125 70:65 80:65 90:35 100:25
BMW i3 60 Ah | 18800 | 7400 | 0:43 30:47 33:44 62:44 100:3
BMW i3S 120 Ah | 37900 | 11000 | 0:49 45:46 60:40 80:27 100:14
BMW i3S 94 Ah REX | 27200 | 11000 | 0:49 45:46 60:40 80:27 100:14
Chevrolet Bolt 60 kWh | 58000 | 7200 | 0:55 56:38 68:24 85:16 100:0
Citroen ë-C4 | 46000 | 11000 | 0:99 40:95 60:77 75:55 100:13
Citroen ë-Spacetourer 50 kWh | 46000 | 11000 | 0:99 40:95 60:77 75:55 100:13
Energica Ego | 18900 | 3000 | 0:22 25:23 35:23 50:18 60:17 75:15 85:15 100:3
Ford Mustang Mach e AWD 98,8 kWh | 88000 | 11000 | 0:148 35:147 60:118 80:73 100:27
Ford Mustang Mach e RWD 98,8 kWh | 88000 | 11000 | 0:148 35:147 60:118 80:73 100:27
Hyundai Ioniq | 38300 | 7200 | 0:40 51:46 53:36 67:37 69:23 74:23 76:15 90:15 100:8
Hyundai Ioniq 5 | 72600 | 11000 | 0:200 10:210 22:232 23:185 37:185 38:175 47:175 48:155 55:155
    56:130 70:130 80:100 100:11
Hyundai Kona 64 kWh 11 kW-AC | 64000 | 11000 | 0:70 40:77 42:70 53:71 55:57 71:58 72:38 76:38 78:25
    88:25 100:8
Hyundai Kona 64 kWh 7,2 kW-AC | 64000 | 7200 | 0:70 40:77 42:70 53:71 55:57 71:58 72:38 76:38 78:25
    88:25 100:8
Jaguar i-Pace | 84000 | 7400 | 0:100 30:105 80:55 90:37 100:12
Jaguar i-Pace EV400 | 84000 | 11000 | 0:100 30:105 80:55 90:37 100:12
Kia e-Niro 64 kWh | 64000 | 7200 | 0:70 40:77 42:70 53:71 55:57 71:58 72:38 76:38 78:25 88:25 100:8
MG MG5 EV | 48800 | 6600 | 0:70 10:80 20:70 80:55 83:18 90:18 100:6.6
MG ZS EV | 44500 | 6600 | 0:70 10:80 20:70 80:55 83:18 90:18 100:6.6
Mazda MX-30 | 32000 | 6600 | 0:30 55:38 70:30 90:18 100:12
Nissan Leaf 24 kWh | 24000 | 3600 | 0:40 22:46 100:10
Nissan Leaf 40 kWh | 38000 | 6600 | 0:41 62:45 65:36 100:15
Nissan e-NV 200 24 kWh | 24000 | 3600 | 0:40 10:45 23:46 80:25 100:10
Nissan e-NV 200 24 kWh 6,6 kW-AC | 24000 | 6600 | 0:40 10:45 23:46 80:25 100:10
Opel Ampera e CCS | 60000 | 7200 | 0:45 50:45 100:15
Opel Corsa-e 11 kW-AC | 45000 | 11000 | 0:99 16:99 20:95 21:75 47:75 48:53 67:53 68:41 72:41 73:27
    83:27 84:11 100:11
Opel Corsa-e 7,2 kW-AC | 45000 | 7400 | 0:99 16:99 20:95 21:75 47:75 48:53 67:53 68:41 72:41 73:2
    83:27 84:11 100:11
Opel Mokka-e | 47500 | 11000 | 0:97 16:97 17:78 46:78 47:52 68:52 69:27 83:27 84:11 100:11
Peugeot E-Traveller 50 kWh 11 kW-AC | 45000 | 11000 | 0:98 20:87 22:75 57:75 59:50 65:50 67:45 73:45
    74:25 84:25 85:12 100:12
Peugeot E-Traveller 50 kWh 7.4 kW-AC | 45000 | 7400 | 0:98 20:87 22:75 57:75 59:50 65:50 67:45 73:45
    74:25 84:25 85:12 100:12
Peugeot e-2008 11 kW-AC | 47500 | 11000 | 0:97 16:97 17:78 46:78 47:52 68:52 69:27 83:27 84:11
    100:11
Peugeot e-208 11 kW-AC | 45000 | 11000 | 0:97 16:97 17:78 46:78 47:52 68:52 69:27 83:27 84:11 100:11
Peugeot e-208 7,2 kW-AC | 45000 | 7400 | 0:97 16:97 17:78 46:78 47:52 68:52 69:27 83:27 84:11 100:11
Polestar 2 | 72500 | 11000 | 0:150 18:150 20:130 40:130 42:100 55:90 57:70 79:70 80:25 100:11
Renault Zoe R110 ZE40 | 41000 | 22000 | 0:41 52:46 80:27 100:22
Skoda CITIGOe iV CCS | 32300 | 7200 | 0:32 27:34 80:14 100:7
Tesla Model 3 LR | 74000 | 11000 | 0:180 40:195 60:110 100:12
Tesla Model 3 Performance | 72500 | 11000 | 0:180 40:195 60:110 100:12
Tesla Model 3 SR+ | 50000 | 11000 | 0:130 52:149 60:110 100:12
Tesla Model S 85 | 76000 | 11000 | 0:125 43:140 80:37 100:12
Tesla Model S 85D | 77500 | 16500 | 0:197 30:149 50:133 80:73 100:10
Tesla Model S 90 | 81000 | 16500 | 0:125 43:140 80:37 100:12
Tesla Model S BEV | 72500 | 16500 | 0:197 30:149 50:133 80:73 100:10
Tesla Model S Standard Range | 72500 | 16500 | 0:197 30:149 50:133 80:73 100:10
Tesla Model X 100D | 100000 | 16500 | 0:125 43:140 80:37 100:12
Tesla Model X 75D | 75000 | 16500 | 0:125 43:140 80:37 100:12
Tesla Model X 90D | 90000 | 11000 | 0:125 43:140 80:37 100:12
Tesla Model X P100D | 100000 | 16500 | 0:125 43:140 80:37 100:12
Tesla Model X P90D | 90000 | 11000 | 0:125 43:140 80:37 100:12
Tesla Model X Performance | 100000 | 16500 | 0:125 43:140 80:37 100:12
Tesla Model X Performance (2020) | 95000 | 16500 | 0:148 35:147 70:98 90:44 100:10
Tesla Model X Standard Range | 75000 | 16500 | 0:125 43:140 80:37 100:12
Tesla Model Y Performance | 72500 | 11000 | 0:246 35:238 75:99 100:18
Volkswagen ID.3 58 kWh | 58000 | 11000 | 0:100 30:100 70:50 80:50 100:20
Volkswagen e-Golf CCS | 21200 | 3600 | 0:40 76:44 81:25 93:16 100:8
Volkswagen e-up CCS | 32300 | 7200 | 0:32 27:34 80:14 100:7
Volvo XC40 P8 Recharge | 75000 | 11000 | 0:148 35:147 70:98 85:59 100:10
"""
"""One car a line: name | battery in Wh | AC power in W | state of charge in % : DC power in kW, ..."""


def _read(table: str) -> dict[str, Vehicle]:
    found = {}
    for line in table.strip().replace("\n    ", " ").splitlines():
        name, battery_wh, ac_w, curve = line.split(" | ")
        points = (point.split(":") for point in curve.split())
        dc_curve = tuple((float(percent), float(Fraction(power_kw) * 1000)) for percent, power_kw in points)
        found[name] = Vehicle(name, int(battery_wh), int(ac_w), dc_curve)
    return found


VEHICLES: dict[str, Vehicle] = _read(_TABLE)
"""The cars by name. A name that two model years share has the year in it."""
