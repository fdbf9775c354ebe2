"""A reading as whole numbers: µs since the start, energy in W x µs, so that forecasts never round."""

from dataclasses import dataclass

from app.domain.tariff.reading import Reading
from app.domain.tariff.windows import microseconds

SCALE = 3_600_000_000
"""W x µs in a Wh. Costs are counted in units of one over the tariff's denominator times this."""
PER_SECOND = 3600
"""SCALE for a price by the second and a time in µs."""


@dataclass(frozen=True, slots=True)
class Span:
    """A session's past: length, energy at most (its error included), time without charging at most; its power
    from now on."""

    past_us: int
    energy: int
    error: int
    parked_us: int
    power_w: int


def span_of(reading: Reading, max_power_w: int) -> Span:
    """The past as the reading knows it."""
    past_us = microseconds(reading.at - reading.since)
    parked = reading.parked_at_most_s
    return Span(
        past_us=past_us,
        energy=(reading.energy_wh + reading.meter_error_wh) * SCALE,
        error=reading.meter_error_wh * SCALE,
        parked_us=past_us if parked is None else min(past_us, parked * 1_000_000),
        power_w=max(0, max_power_w),
    )
