"""The OCPI 2.3.0 Tariff object, and the meter reading that it prices."""

from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum

from app.domain.units.frozen import frozen


class Dimension(StrEnum):
    """What a price component counts. A session, kWh, hours charging, hours connected without charging."""

    FLAT = "FLAT"
    ENERGY = "ENERGY"
    TIME = "TIME"
    PARKING_TIME = "PARKING_TIME"


class TaxIncluded(StrEnum):
    """Whether the prices contain the taxes; `N/A`: no taxes are due at all."""

    YES = "YES"
    NO = "NO"
    NOT_APPLICABLE = "N/A"


@frozen(kw_only=True)
class PriceComponent:
    """A price in major units. For a session (FLAT), kWh (ENERGY) or hour (TIME, PARKING_TIME).

    `vat` is a percentage, None when the tariff names none. `step_size` is in Wh or seconds.
    """

    dimension: Dimension
    price: Decimal
    vat: Decimal | None = None
    step_size: int = 1


@frozen(kw_only=True)
class Restrictions:
    """When an element is active. Local time of day and dates (end excluded), energy and duration so far, current and
    power of the moment. `weekdays`: Monday is 0. With `reservation` the element is ignored."""

    start_time: time | None = None
    end_time: time | None = None
    start_date: date | None = None
    end_date: date | None = None
    min_kwh: Decimal | None = None
    max_kwh: Decimal | None = None
    min_current_a: Decimal | None = None
    max_current_a: Decimal | None = None
    min_power_kw: Decimal | None = None
    max_power_kw: Decimal | None = None
    min_duration_s: int | None = None
    max_duration_s: int | None = None
    weekdays: frozenset[int] = frozenset()
    reservation: str | None = None


@frozen(kw_only=True)
class Element:
    """Price components that hold while the restrictions are met."""

    components: tuple[PriceComponent, ...]
    restrictions: Restrictions = Restrictions()


@frozen(kw_only=True)
class PriceLimit:
    """A least or highest cost of a session in major units. Both sides apply, each on its own, where given."""

    before_tax: Decimal | None
    total: Decimal | None


@frozen(kw_only=True)
class Tariff:
    """One tariff. `source` is the object it was read from, to be kept with the session as a snapshot."""

    id: str
    currency: str
    elements: tuple[Element, ...]
    tax_included: TaxIncluded = TaxIncluded.NO
    min_price: PriceLimit | None = None
    max_price: PriceLimit | None = None
    type: str | None = None
    country_code: str | None = None
    party_id: str | None = None
    start_date_time: datetime | None = None
    end_date_time: datetime | None = None
    source: Mapping[str, object] = field(default_factory=dict, compare=False, repr=False)

    def __hash__(self) -> int:
        """Hashes by name and first price. Derived values are looked up at each decision, and tariffs that come with
        payments often have no name of their own, or all the same."""
        first = self.elements[0].components if self.elements else ()
        return hash((self.id, len(self.elements), first[0].price if first else None))


LONGEST_SESSION = timedelta(days=62)
"""Longer than any hold. A bound's cost grows with the days of a session, so wrong dates are cut to this."""
_OLDEST = datetime(1, 4, 1, tzinfo=UTC)


@frozen(kw_only=True)
class MeterPoint:
    """A session's energy so far at one time."""

    at: datetime
    energy_wh: int


@frozen(kw_only=True)
class Reading:
    """What is known of a running session at `at`. Its energy since `started_at`, when minutes begin to count.

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
        """The start of the session. Not after the reading, even when two clocks disagree, nor absurdly long before."""
        began = min(self.started_at, self.at)
        return began if self.at < _OLDEST else max(began, self.at - LONGEST_SESSION)
