"""Formats amounts, energies, times and words for pages."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from app.api.money_views import rfc3339
from app.domain.units.money import EXPONENTS, to_major

NOTHING = "–"


def amount(minor: int | None, currency: str) -> str:
    """`12.34` for 1234 of EUR, with thin spaces between thousands."""
    if minor is None:
        return NOTHING
    if currency not in EXPONENTS:  # a row of another release: shown as it is
        return str(minor)
    return f"{to_major(minor, currency):,f}".replace(",", "\u202f")


def money(minor: int | None, currency: str) -> str:
    """`12.34 EUR`."""
    return NOTHING if minor is None else f"{amount(minor, currency)} {currency}"


def kwh(energy_wh: int | None) -> str:
    """`10.62` kWh, in two decimals as Monta shows them."""
    return NOTHING if energy_wh is None else f"{energy_wh / 1000:,.2f}".replace(",", "\u202f")


def kw(power_w: int | None) -> str:
    return NOTHING if power_w is None else f"{power_w / 1000:.1f}"


def words(name: str | None) -> str:
    """A code as words: `stop_decided` is `stop decided`."""
    return NOTHING if name is None else str(name).replace("_", " ")


def moment(at: datetime | None) -> str:
    """Date and time in UTC, to the second."""
    return NOTHING if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def clock_time(at: datetime | None) -> str:
    """The time of day in UTC."""
    return NOTHING if at is None else at.astimezone(UTC).strftime("%H:%M:%S")


def day(at: datetime) -> str:
    return at.astimezone(UTC).date().isoformat()


_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def duration(passed: timedelta | float | None) -> str:
    """The two largest units: `1 h 5 min`, `12 s`; below a second in milliseconds."""
    if passed is None:
        return NOTHING
    seconds = passed.total_seconds() if isinstance(passed, timedelta) else passed
    if abs(seconds) < 1:
        return f"{round(seconds * 1000)} ms"
    left, parts = int(abs(seconds)), list[str]()
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count and len(parts) < 2:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return ("−" if seconds < 0 else "") + " ".join(parts)


def since(at: datetime | None, now: datetime) -> str:
    """How long ago: `5 min 3 s ago`."""
    return NOTHING if at is None else f"{duration(max(timedelta(), now - at))} ago"


def epoch_ms(at: datetime | None) -> int | None:
    return None if at is None else round(at.timestamp() * 1000)


FILTERS: Mapping[str, Callable[..., Any]] = {
    "amount": amount,
    "money": money,
    "kwh": kwh,
    "kw": kw,
    "words": words,
    "moment": moment,
    "clock_time": clock_time,
    "rfc3339": rfc3339,
    "duration": duration,
    "since": since,
}
"""For templates, by their own names."""
