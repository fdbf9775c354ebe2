"""Cars with their charging curves.

Figures: Open EV Data, MIT licence, Copyright (c) 2019 Niklas Hösl. Battery in Wh, AC power in W, curve as
[(state of charge in %, W)].
"""

from dataclasses import dataclass

from app.simulator.curve import PowerCurve, power_curve


@dataclass(frozen=True, slots=True)
class Vehicle:
    """A model of car; `ac_w` is what its on-board charger takes, `dc_curve` what its battery takes."""

    name: str
    battery_wh: int
    ac_w: int
    dc_curve: tuple[tuple[float, float], ...]

    def curve(self, charger_w: int, *, direct_current: bool) -> PowerCurve:
        """What this car takes from a charger of `charger_w`."""
        cap_w = charger_w if direct_current else min(charger_w, self.ac_w)
        return power_curve(self.dc_curve, self.battery_wh, cap_w)


_TABLE: tuple[tuple[str, int, int, tuple[tuple[int, int], ...]], ...] = (
    ("Nissan Leaf 40 kWh", 38_000, 6_600, ((0, 41_000), (62, 45_000), (65, 36_000), (100, 15_000))),
    ("Renault Zoe R110 ZE40", 41_000, 22_000, ((0, 41_000), (52, 46_000), (80, 27_000), (100, 22_000))),
    (
        "BMW i3S 120 Ah",
        37_900,
        11_000,
        ((0, 49_000), (45, 46_000), (60, 40_000), (80, 27_000), (100, 14_000)),
    ),
    ("Volkswagen e-up CCS", 32_300, 7_200, ((0, 32_000), (27, 34_000), (80, 14_000), (100, 7_000))),
    (
        "Volkswagen ID.3 58 kWh",
        58_000,
        11_000,
        ((0, 100_000), (30, 100_000), (70, 50_000), (80, 50_000), (100, 20_000)),
    ),
    (
        "Hyundai Kona 64 kWh 11 kW-AC",
        64_000,
        11_000,
        (
            (0, 70_000),
            (40, 77_000),
            (42, 70_000),
            (53, 71_000),
            (55, 57_000),
            (71, 58_000),
            (72, 38_000),
            (76, 38_000),
            (78, 25_000),
            (88, 25_000),
            (100, 8_000),
        ),
    ),
    (
        "Hyundai Ioniq 5",
        72_600,
        11_000,
        (
            (0, 200_000),
            (10, 210_000),
            (22, 232_000),
            (23, 185_000),
            (37, 185_000),
            (38, 175_000),
            (47, 175_000),
            (48, 155_000),
            (55, 155_000),
            (56, 130_000),
            (70, 130_000),
            (80, 100_000),
            (100, 11_000),
        ),
    ),
    ("Tesla Model 3 LR", 74_000, 11_000, ((0, 180_000), (40, 195_000), (60, 110_000), (100, 12_000))),
    ("Tesla Model Y Performance", 72_500, 11_000, ((0, 246_000), (35, 238_000), (75, 99_000), (100, 18_000))),
    ("Tesla Model S 90", 81_000, 16_500, ((0, 125_000), (43, 140_000), (80, 37_000), (100, 12_000))),
    (
        "Polestar 2",
        72_500,
        11_000,
        (
            (0, 150_000),
            (18, 150_000),
            (20, 130_000),
            (40, 130_000),
            (42, 100_000),
            (55, 90_000),
            (57, 70_000),
            (79, 70_000),
            (80, 25_000),
            (100, 11_000),
        ),
    ),
    (
        "Audi Q4 e-tron 50 quattro",
        77_000,
        11_000,
        ((0, 125_000), (35, 125_000), (70, 65_000), (80, 65_000), (90, 35_000), (100, 25_000)),
    ),
    (
        "Chevrolet Bolt 60 kWh",
        58_000,
        7_200,
        ((0, 55_000), (56, 38_000), (68, 24_000), (85, 16_000), (100, 0)),
    ),
)

VEHICLES: dict[str, Vehicle] = {name: Vehicle(name, wh, ac_w, dc) for name, wh, ac_w, dc in _TABLE}
"""The cars by name."""
