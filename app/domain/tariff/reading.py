"""What is known of a running session at one moment."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

LONGEST_SESSION = timedelta(days=62)
"""No hold is good for so long. What a bound costs grows with the days of a session: no odd date makes it more."""
_OLDEST = datetime(1, 4, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterPoint:
    """A session's energy so far at one time."""

    at: datetime
    energy_wh: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is known of a running session at `at`: its energy since `started_at`, when minutes begin to count.

    `meter_error_wh`: the true energy may be that much above `energy_wh`, and above those of `earlier`: by
    rounding, or by steps of 1 kWh.
    `price`: Monta's running price in major units; `price_per_kwh`: its average; None when not reported.
    `earlier`: older points of this session, ascending, which tighten time-of-day prices; may be empty.
    `parked_at_most_s`: seconds until `at` without charging, at most; None: unknown.
    `past_power_w`: no more flowed at any moment until `at`; None: the past may have had any power.
    """

    started_at: datetime
    at: datetime
    energy_wh: int
    meter_error_wh: int = 0
    price: Decimal | None = None
    price_per_kwh: Decimal | None = None
    earlier: tuple[MeterPoint, ...] = ()
    parked_at_most_s: int | None = None
    past_power_w: int | None = None

    @property
    def since(self) -> datetime:
        """The start of the session; not after the reading, even when two clocks disagree, nor absurdly long before."""
        began = min(self.started_at, self.at)
        return began if self.at < _OLDEST else max(began, self.at - LONGEST_SESSION)
