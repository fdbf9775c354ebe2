"""Draws charge points, cars, tariffs and authorizations for the limit's bench from a seed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from app.domain.tariff import Tariff, parse_tariff
from app.simulator.site.vehicles import VEHICLES, Vehicle

BERLIN = ZoneInfo("Europe/Berlin")
EPOCH = datetime(2026, 10, 1, tzinfo=UTC)
AC_W = (3_700, 7_400, 11_000, 22_000, 43_000)
DC_W = (25_000, 50_000, 75_000, 100_000, 150_000, 200_000, 300_000, 400_000)
METERS = ("10", "60", "60", "60", "60", "300", "kwh")
LIMIT_MODES = ("on",) * 7 + ("off", "off", "late", "dark", "dark-off")
CHAIN = 26
"""Number of consecutive sessions at one charge point that is learned."""
CHANGE_AT = 21
"""In some chains the stop latency changes before this session."""
WORST_LATENCY_S = 30.0


@dataclass(frozen=True)
class PointTraits:
    """A charge point: its rating in W, its meter, the behaviour of its stops and of Monta's limit."""

    name: str
    dc: bool
    rated_w: int
    meter: str
    limit_mode: str
    latency_s: float
    jitter_s: float
    shared: bool
    changes: bool
    ramp_s: float
    loss: float


@dataclass(frozen=True)
class Visit:
    """One session at a charge point. `index`: number of sessions there before; None: nothing was ever learned."""

    point: PointTraits
    index: int | None
    vehicle: Vehicle
    stored_share: float
    tariff: Tariff
    tariff_kind: str
    authorized_minor: int
    starts_at: datetime
    seed: int

    @property
    def latency_range_s(self) -> tuple[float, float]:
        """Range of the stop latency here and now, in seconds."""
        base = self.point.latency_s
        if self.point.changes and self.index is not None and self.index >= CHANGE_AT:
            base = min(WORST_LATENCY_S - self.point.jitter_s, base * 3 + 4)
        return max(2.0, base - self.point.jitter_s), min(WORST_LATENCY_S, base + self.point.jitter_s)


def visits(count: int, seed: int) -> Iterator[list[Visit]]:
    """About two fifths of the sessions at new charge points, the others in chains of CHAIN at one charge point."""
    chance, left = Random(seed), count
    while left > 0:
        point = _point(chance, f"{seed}-{left}")
        cold = chance.random() < 0.4 * CHAIN / (0.4 * CHAIN + 0.6)
        chain = [_visit(chance, point, None if cold else i) for i in range(1 if cold else min(CHAIN, left))]
        left -= len(chain)
        yield chain


def _point(chance: Random, name: str) -> PointTraits:
    dc = chance.random() < 0.5
    latency_s = chance.uniform(2, WORST_LATENCY_S)
    return PointTraits(
        name=name,
        dc=dc,
        rated_w=chance.choice(DC_W if dc else AC_W),
        meter=chance.choice(METERS),
        limit_mode=chance.choice(LIMIT_MODES),
        latency_s=latency_s,
        jitter_s=chance.uniform(0.1, max(0.5, 0.1 * latency_s)),
        shared=chance.random() < 0.1,
        changes=chance.random() < 0.2,
        ramp_s=chance.uniform(2, 30),
        loss=chance.choice((0, 0, 0, 0.05, 0.3)),
    )


def _visit(chance: Random, point: PointTraits, index: int | None) -> Visit:
    kind, tariff, per_kwh, fee = _tariff(chance, point.dc)
    vehicle, stored, euros = chance.choice(list(VEHICLES.values())), 0.1, 20
    for _ in range(8):
        vehicle = chance.choice(list(VEHICLES.values()))
        stored = chance.uniform(0.02, 0.6)
        euros = chance.choice((5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150))
        if (euros - fee) / per_kwh * 1000 < vehicle.battery_wh * (0.97 - stored):
            break
    starts_at = EPOCH + timedelta(seconds=chance.randrange(40 * 86_400))
    return Visit(
        point=point,
        index=index,
        vehicle=vehicle,
        stored_share=stored,
        tariff=tariff,
        tariff_kind=kind,
        authorized_minor=euros * 100,
        starts_at=starts_at,
        seed=chance.randrange(2**62),
    )


def _tariff(chance: Random, dc: bool) -> tuple[str, Tariff, float, float]:
    """A kind, the tariff, its lowest price of a kWh and its fee."""
    per_kwh = round(chance.uniform(0.39, 0.89) if dc else chance.uniform(0.25, 0.69), 2)
    kind = chance.choice(("energy", "energy", "fee", "minutes", "time of day", "parking"))
    parts, fee = [("ENERGY", per_kwh)], 0.0
    if kind in ("fee", "minutes", "parking"):
        fee = round(chance.uniform(0.2, 1.5), 2)
        parts.append(("FLAT", fee))
    if kind == "minutes":
        parts.append(("TIME", round(chance.uniform(0.6, 4), 2)))
    if kind == "parking":
        parts.append(("PARKING_TIME", round(chance.uniform(1, 6), 2)))
    elements: list[dict[str, object]] = [{"price_components": [_component(*part) for part in parts]}]
    if kind == "time of day":
        night = round(per_kwh * 0.7, 2)
        elements.insert(
            0,
            {
                "price_components": [_component("ENERGY", night)],
                "restrictions": {"start_time": "21:00", "end_time": "07:00"},
            },
        )
        per_kwh = night
    return (
        kind,
        parse_tariff({"id": kind, "currency": "EUR", "tax_included": "YES", "elements": elements}),
        per_kwh,
        fee,
    )


def _component(kind: str, price: float) -> dict[str, object]:
    return {"type": kind, "price": str(price), "step_size": 1}
