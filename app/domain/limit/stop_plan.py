"""Plans the latest time of our own stop. Monta's limits are in `monta_limits`."""

from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from zoneinfo import ZoneInfo

from app.domain.limit.monta_limits import same_currency
from app.domain.tariff import Reading, Tariff, upper_bound
from app.domain.tariff.lower_bound import lower_bound
from app.domain.tariff.time_windows import MICROSECOND, SCALE, microseconds
from app.domain.tariff.upper_bound import Forecast
from app.domain.units.frozen import frozen
from app.domain.units.money import Rounding, exponent, to_major, to_minor

HORIZON = timedelta(hours=48)
"""Forecast horizon; each new reading starts it afresh."""
RESOLUTION_US = 1_000
"""The latest safe time is found to the millisecond, on the safe side: at most 28 halvings of the horizon."""


class Basis(StrEnum):
    """What a planned stop rests on.

    TARIFF: the bound by the tariff. REPORTED_PRICE: Monta's running price, which is above that bound or all
    that is known. ENERGY_LIMIT: the driver's own limit. OTHER_CURRENCY: the charge runs in another currency than the
    hold, which pays for nothing of it. NOTHING_KNOWN: only Monta's limits guard the session.
    """

    TARIFF = "tariff"
    REPORTED_PRICE = "reported_price"
    ENERGY_LIMIT = "energy_limit"
    OTHER_CURRENCY = "other_currency"
    NOTHING_KNOWN = "nothing_known"


@frozen(kw_only=True)
class StopPlan:
    """The latest time of a stop, and its basis. None: not within the horizon."""

    stop_at: datetime | None
    basis: Basis


def plan_stop(
    tariff: Tariff | None,
    authorized_minor: int,
    currency: str,
    reading: Reading,
    *,
    max_power_w: int,
    stop_latency_s: float,
    tz: ZoneInfo,
    energy_limit_wh: int | None = None,
    horizon: timedelta = HORIZON,
) -> StopPlan:
    """Computes the latest time of a stop that keeps the price authorized. At full power until `stop_latency_s` later,
    the total stays within the authorization and the energy within the driver's limit.

    When that is impossible already, the time is `stop_latency_s` before the reading: due at once. A tariff in another
    currency counts as none.
    """
    end_us = microseconds(horizon) + int(stop_latency_s * 1_000_000)
    known = same_currency(tariff, currency)
    if known is None:
        safe_us, basis = _safe_by_report(to_major(authorized_minor, currency), reading, max_power_w)
    else:
        forecast = Forecast(known, reading, max_power_w, tz, end_us)
        safe_us, basis = _safe_by_tariff(forecast, authorized_minor, currency, reading, end_us)
    if energy_limit_wh is not None:
        requested_us = _safe_by_energy(energy_limit_wh, reading, max_power_w)
        if requested_us is not None and (safe_us is None or requested_us < safe_us):
            safe_us, basis = requested_us, Basis.ENERGY_LIMIT
    if safe_us is None or safe_us > end_us:
        return StopPlan(stop_at=None, basis=basis)
    stop_at = reading.at + max(0, safe_us) * MICROSECOND - timedelta(seconds=stop_latency_s)
    return StopPlan(stop_at=stop_at, basis=basis)


@frozen(kw_only=True)
class Used:
    """What a session used so far: `amount_minor`, which may exceed the bill by `error_minor` at most. Without a tariff
    only Monta's running price is known, so all of it."""

    amount_minor: int
    error_minor: int


def used(
    tariff: Tariff | None,
    authorized_minor: int,
    currency: str,
    reading: Reading,
    *,
    max_power_w: int,
    tz: ZoneInfo,
) -> Used:
    """Returns the amount used at the reading, rounded down. Not above what will be billed, nor the authorization.

    Monta's running price, held between the least and the most that the tariff allows; without it, the least.
    """
    reported, least = reading.price or Decimal(0), Decimal(0)
    known = same_currency(tariff, currency)
    if known is not None:
        least = lower_bound(known, reading, tz)
        reported = min(max(reported, least), upper_bound(known, reading, reading.at, max_power_w, tz))
    sure, shown = (
        max(0, min(to_minor(each, currency, Rounding.DOWN), authorized_minor)) for each in (least, reported)
    )
    return Used(amount_minor=shown, error_minor=max(0, shown - sure))


def _safe_by_tariff(
    forecast: Forecast, authorized_minor: int, currency: str, reading: Reading, end_us: int
) -> tuple[int | None, Basis]:
    """Returns until when full power stays within the authorization, in µs. Counted from the reading. None: beyond
    `end_us`.

    A running price above our own bound becomes the base: the tariff that we know is not what Monta charges.
    """
    allowed = authorized_minor * forecast.scale // 10 ** exponent(currency)
    basis = Basis.TARIFF
    if reading.price is not None:
        price, parts = reading.price.as_integer_ratio()
        excess = -(-price * forecast.scale // parts) - forecast.cost(0)
        if excess > 0:
            allowed, basis = allowed - excess, Basis.REPORTED_PRICE
    return forecast.latest(allowed, end_us, RESOLUTION_US), basis


def _safe_by_energy(limit_wh: int, reading: Reading, max_power_w: int) -> int | None:
    left = (limit_wh - reading.energy_wh - reading.meter_error_wh) * SCALE
    if left < 0:
        return 0
    return left // max_power_w if max_power_w > 0 else None


def _safe_by_report(authorized: Decimal, reading: Reading, max_power_w: int) -> tuple[int | None, Basis]:
    """Assumes the average price so far for each further Wh. By Monta's figures, where there is no tariff."""
    energy = reading.energy_wh + reading.meter_error_wh
    rates = [] if reading.price_per_kwh is None else [Fraction(reading.price_per_kwh) / 1000]
    if reading.price is not None and reading.energy_wh > 0:
        rates.append(Fraction(reading.price) / reading.energy_wh)
    rate = max(rates, default=Fraction(0))
    used = max(Fraction(reading.price or 0), rate * energy)
    if used > Fraction(authorized):
        return 0, Basis.REPORTED_PRICE
    if rate <= 0:
        return None, Basis.NOTHING_KNOWN
    if max_power_w <= 0:
        return None, Basis.REPORTED_PRICE
    return int((Fraction(authorized) - used) / rate * SCALE // max_power_w), Basis.REPORTED_PRICE
