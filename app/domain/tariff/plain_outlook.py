"""The highest cost of a session by a tariff without restrictions, in closed form."""

from app.domain.tariff.rates import PlainPrices
from app.domain.tariff.span import PER_SECOND, SCALE, Span

SECOND_US = 1_000_000


def up_to(amount: int, step: int) -> int:
    """The least multiple of `step` that is not below `amount`."""
    return -(-amount // step) * step


class PlainOutlook:
    """Flat fee, energy and minutes at one price each; exact where at most one kind of time costs anything."""

    def __init__(self, prices: PlainPrices, span: Span) -> None:
        self.span = span
        self.flat = prices.flat[0] * SCALE
        self.energy = prices.energy[0]
        self.energy_step = prices.energy[1] * SCALE
        self.time = prices.time[0] * PER_SECOND
        self.time_step = prices.time[1] * SECOND_US
        self.parking = prices.parking[0] * PER_SECOND
        self.parking_step = prices.parking[1] * SECOND_US

    @property
    def by_energy_alone(self) -> bool:
        """No minute costs anything, so the cost follows from the energy exactly."""
        return not self.time and not self.parking

    def cost(self, until_us: int) -> int:
        """The highest cost `until_us` after the reading."""
        energy = self.span.energy + self.span.power_w * until_us
        by_energy = self.flat + self.energy * up_to(energy, self.energy_step)
        if not self.parking:
            # At one price of time the worst is that all of it was charging.
            length = self.span.past_us + until_us if self.time else 0
            return by_energy + self.time * up_to(length, self.time_step)
        return min(by_energy + self._dearest_minutes(until_us), self._charging_or_parked(until_us))

    def latest(self, amount: int) -> int | None:
        """For `by_energy_alone`: the last µs from the reading at which the cost is at most `amount`.

        None: never above it. Below 0: above it already.
        """
        if self.flat > amount:
            return -1
        if not self.energy:
            return None
        most = (amount - self.flat) // (self.energy * self.energy_step) * self.energy_step
        if most < self.span.energy:
            return -1
        return (most - self.span.energy) // self.span.power_w if self.span.power_w else None

    def _dearest_minutes(self, until_us: int) -> int:
        """All minutes at the dearer price, though energy flows only in those that are charging."""
        parked = self.span.parked_us + until_us
        if not self.time:
            return self.parking * up_to(parked, self.parking_step)
        dearer = max(0, self.parking - self.time)
        return self.time * (self.span.past_us + until_us) + dearer * parked + self._time_surplus()

    def _charging_or_parked(self, until_us: int) -> int:
        """From now on each moment is charging at full power or parked, whichever costs more; steps on top."""
        dearer = max(0, self.parking - self.time)
        past = self.energy * self.span.energy + self.time * self.span.past_us + dearer * self.span.parked_us
        moment = max(self.energy * self.span.power_w + self.time, self.parking)
        surplus = self.energy * self.energy_step + self._time_surplus()
        return self.flat + past + moment * until_us + surplus

    def _time_surplus(self) -> int:
        """Only the kind of time that was charged last is rounded up."""
        return max(self.time * self.time_step, self.parking * self.parking_step)
