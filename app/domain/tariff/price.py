"""Prices a finished session exactly. The oracle for tests and for the simulator's price groups.

The service itself takes what Monta bills and only bounds it (`lower_bound`, `upper_bound`, `energy_for_amount`).
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import StrEnum
from fractions import Fraction
from zoneinfo import ZoneInfo

from app.domain.tariff.model import Dimension, PriceLimit, Tariff
from app.domain.tariff.rates import Rate, Rates, rates_of
from app.domain.tariff.time_windows import Cell, cells, energy_allows, microseconds, power_allows
from app.domain.units.frozen import frozen

MAINS_V = 230
WIDE = Context(prec=28, rounding=ROUND_HALF_EVEN)


class PeriodKind(StrEnum):
    """Whether the car was charging or only connected."""

    CHARGING = "charging"
    PARKING = "parking"


@frozen(kw_only=True)
class Period:
    """A stretch of a session with an even course. `wh` delivered in `seconds` from `start` (aware) on.

    Without `power_w` its mean power counts for the restrictions; without `current_a` (the sum over the
    phases) that power at 230 V.
    """

    start: datetime
    seconds: int
    wh: int = 0
    kind: PeriodKind = PeriodKind.CHARGING
    power_w: int | None = None
    current_a: Decimal | None = None


@frozen(kw_only=True)
class Price:
    """A cost in major units, not rounded to the minor unit."""

    before_tax: Decimal
    tax: Decimal
    total: Decimal


@frozen
class _Piece:
    """A part of a period that passes no restriction. Neither of time, energy, power nor current."""

    seconds: Fraction
    wh: Fraction
    rates: dict[Dimension, tuple[int, Rate]]


def price(tariff: Tariff, usage: Sequence[Period], tz: ZoneInfo) -> Price:
    """Prices periods that follow each other, at a place in `tz`.

    The session starts with the first period. A flat fee falls due once for each element under which the
    session has been. Steps round the whole energy once, and of charging and parking time the kind that was
    priced last, at the last price of each. No periods cost nothing.
    """
    if not usage:
        return as_price(Fraction(0), Fraction(0))
    rates = rates_of(tariff)
    before = total = Fraction(0)
    for rate, quantity in _quantities(_pieces(rates, usage, tz)):
        before += rate.net * quantity
        total += rate.gross * quantity
    return as_price(*_limited(before, total, tariff, rates.highest_tax))


def as_price(before: Fraction, total: Fraction) -> Price:
    """Exact sums as decimals."""
    before_tax, full = _decimal(before), _decimal(total)
    return Price(before_tax=before_tax, tax=WIDE.subtract(full, before_tax), total=full)


def _decimal(value: Fraction) -> Decimal:
    """Exact, or to 28 digits where thirds have no end. Never so near to half a cent that it would matter."""
    return WIDE.divide(Decimal(value.numerator), Decimal(value.denominator))


def _pieces(rates: Rates, usage: Sequence[Period], tz: ZoneInfo) -> Iterator[_Piece]:
    # In UTC: between two times of one zone Python would subtract what the clocks on the wall show.
    started_at = usage[0].start.astimezone(UTC)
    starts_us = [microseconds(each.start.astimezone(UTC) - started_at) for each in usage]
    end_us = starts_us[-1] + usage[-1].seconds * 1_000_000
    found = cells(rates.restrictions, started_at, end_us + 1, tz)
    energy = Fraction(0)
    for period, start_us in zip(usage, starts_us, strict=True):
        yield from _cut(rates, period, found, start_us, energy)
        energy += period.wh


def _cut(
    rates: Rates, period: Period, found: list[Cell], start_us: int, energy: Fraction
) -> Iterator[_Piece]:
    """Cuts a period into pieces. Shares of it run from 0 to 1, of time and energy alike."""
    length_us = period.seconds * 1_000_000
    cuts = {Fraction(0)}
    if length_us:
        cuts |= {Fraction(cell.start_us - start_us, length_us) for cell in found}
    if period.wh:
        thresholds = {
            Fraction(each) * 1000
            for r in rates.restrictions
            for each in (r.min_kwh, r.max_kwh)
            if each is not None
        }
        cuts |= {(threshold - energy) / period.wh for threshold in thresholds}
    ordered = sorted(cut for cut in cuts if 0 <= cut < 1)
    for share, following in zip(ordered, [*ordered[1:], Fraction(1)], strict=True):
        at_us = start_us + share * length_us
        cell = next(each for each in reversed(found) if each.start_us <= at_us)
        chosen = _in_force(rates, cell, energy + share * period.wh, period)
        part = following - share
        yield _Piece(part * period.seconds, part * period.wh, chosen)


def _in_force(
    rates: Rates, cell: Cell, energy: Fraction, period: Period
) -> dict[Dimension, tuple[int, Rate]]:
    """For each dimension the first element that has it and is active. Only the period's kind of time."""
    power = _power_w(period)
    current = Fraction(period.current_a) if period.current_a is not None else power / MAINS_V
    idle_kind = Dimension.PARKING_TIME if period.kind is PeriodKind.CHARGING else Dimension.TIME
    chosen: dict[Dimension, tuple[int, Rate]] = {}
    for index in cell.active:
        element = rates.elements[index]
        if energy_allows(element.restrictions, energy) and power_allows(element.restrictions, power, current):
            for dimension, rate in element.rates.items():
                if dimension is not idle_kind:
                    chosen.setdefault(dimension, (index, rate))
    return chosen


def _power_w(period: Period) -> Fraction:
    if period.power_w is not None:
        return Fraction(period.power_w)
    return Fraction(period.wh * 3600, period.seconds) if period.seconds else Fraction(0)


def _quantities(pieces: Iterator[_Piece]) -> Iterator[tuple[Rate, Fraction]]:
    """What is billed of each rate: sessions, Wh and seconds, steps included."""
    billed: dict[Dimension, dict[int, tuple[Rate, Fraction]]] = {each: {} for each in Dimension}
    last: dict[Dimension, int] = {}
    last_time = Dimension.TIME
    for piece in pieces:
        for dimension, (index, rate) in piece.rates.items():
            amount = _amount(piece, dimension)
            if dimension is Dimension.FLAT:
                billed[dimension][index] = (rate, amount)
            elif amount > 0:
                billed[dimension][index] = (
                    rate,
                    billed[dimension].get(index, (rate, Fraction(0)))[1] + amount,
                )
                last[dimension] = index
                last_time = dimension if dimension is not Dimension.ENERGY else last_time
    for dimension in (Dimension.ENERGY, last_time):
        if dimension in last:
            _step_up(billed[dimension], last[dimension])
    for lines in billed.values():
        yield from lines.values()


def _amount(piece: _Piece, dimension: Dimension) -> Fraction:
    match dimension:
        case Dimension.FLAT:
            return Fraction(1)
        case Dimension.ENERGY:
            return piece.wh
        case Dimension.TIME | Dimension.PARKING_TIME:
            return piece.seconds


def _step_up(lines: dict[int, tuple[Rate, Fraction]], last: int) -> None:
    """Rounds a dimension's sum up to the step of its last rate. The surplus is billed at that rate."""
    rate, amount = lines[last]
    whole = sum((each for _, each in lines.values()), Fraction(0))
    lines[last] = (rate, amount + -(-whole // rate.step) * rate.step - whole)


def _limited(
    before: Fraction, total: Fraction, tariff: Tariff, highest_tax: Fraction
) -> tuple[Fraction, Fraction]:
    """Least and highest price, each side on its own. A side not given follows the other in proportion."""
    for limit, pick in ((tariff.min_price, max), (tariff.max_price, min)):
        if limit is not None:
            before, total = _one_limit(before, total, limit, pick is max, highest_tax)
    return min(before, total), total


def _one_limit(
    before: Fraction, total: Fraction, limit: PriceLimit, least: bool, highest_tax: Fraction
) -> tuple[Fraction, Fraction]:
    pick = max if least else min
    changed = before if limit.before_tax is None else pick(before, Fraction(limit.before_tax))
    if limit.total is not None:
        return changed, pick(total, Fraction(limit.total))
    factor = total / before if before else highest_tax
    return changed, changed * factor if changed != before else total
