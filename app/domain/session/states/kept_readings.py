"""Readings that decide nothing, kept beside their session until it is loaded. Of a running charge.

A reading decides nothing while it shows what the last decision allowed for: the same charge at no more power and no
higher price. Then no stop can fall due before the time that was found with the decision.

What is made or read for each reading is a NamedTuple, in half the time of a frozen dataclass and half the text.
"""

import struct
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from app.domain.charging.charge import Charge, merge
from app.domain.limit.meter import MeterHistory, with_numbers
from app.domain.session.payment_session import PaymentSession
from app.domain.session.plausibility import UNIT_FACTOR
from app.domain.session.reports import average_w, is_by_the_hour
from app.domain.tariff import MeterPoint
from app.domain.units.frozen import replace
from app.domain.units.ids import ChargeId

MOST_READINGS = 192
"""Readings kept of one session. The next one is applied to the session, with all of them.

So many fit with the rest of their row below the 2 kB from which PostgreSQL compresses a row at each change.
"""
ABSORBED_FROM = 128
"""Kept readings from which on they are applied to their session beside deliveries, so that few meet the bound."""
_POINT = struct.Struct("<IH")
"""Microseconds and Wh since the reading before."""
_MOST_US, _MOST_WH = 2**32 - 1, 2**16 - 1
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_US = timedelta(microseconds=1)
_S = 10**6
_ZERO, _THOUSAND, _FACTOR = Decimal(0), Decimal(1000), Decimal(UNIT_FACTOR)
new_tuple = tuple.__new__
"""Makes a NamedTuple of all its fields in order, in a third of the time of its own constructor."""


class Told(NamedTuple):
    """A webhook's report of a charge that is charging. `said` stands for all that it says beside what is named here,
    as in ChargeReport."""

    charge_id: ChargeId
    reference: str | None
    """Our session's id, if it is named."""
    said: str
    updated_at: datetime
    happened_at: datetime | None
    """The event's own time."""
    energy_wh: int
    price: Decimal | None
    price_per_kwh: Decimal | None
    soc_percent: int | None = None


class Allowed(NamedTuple):
    """What readings may show without a decision; prices in major units."""

    reference: str | None
    said: str
    energy_wh: int
    at: datetime
    power_w: int
    shown_price: Decimal
    """Monta's price so far. It may stay, and else rise from `price` on by no more than by energy and time."""
    price: Decimal
    price_per_wh: Decimal
    price_per_s: Decimal
    most_price: Decimal
    most_wh: int
    step_wh: int
    """The most from one reading to the next."""
    skew_s: float
    due_at: datetime
    """Before this nothing is due but a read of a silent charge."""
    stop_at: datetime
    """Before this no stop for the limit is due."""
    silent_after: timedelta


class Newest(NamedTuple):
    """The newest reading, in our own time."""

    updated_at: datetime
    seen_at: datetime
    as_of: datetime
    arrived_at: datetime
    energy_wh: int
    energy_at: datetime
    price: Decimal | None
    price_per_kwh: Decimal | None
    from_record: bool = False
    soc_percent: int | None = None


class KeptReadings(NamedTuple):
    """Readings beside a session: the newest whole, and the course of all.

    `points`: of each how much later and higher it is than the one before, packed."""

    newest: Newest
    readings: int = 0
    points: bytes = b""

    @property
    def is_full(self) -> bool:
        """Whether the next reading is applied to the session, whatever it shows."""
        return self.readings >= MOST_READINGS


def keep_reading(allowed: Allowed, kept: KeptReadings, told: Told, now: datetime) -> KeptReadings | None:
    """Adds a reading that decides nothing. None: it must be applied to its session."""
    newest, updated_at, energy_wh = kept.newest, told.updated_at, told.energy_wh
    if told.said != allowed.said or told.reference != allowed.reference:
        return None
    seen_at = told.happened_at or updated_at
    seen_at = seen_at if seen_at < now else now
    as_of = updated_at if updated_at < seen_at else seen_at
    if not _follows(allowed, newest, updated_at, seen_at) or as_of <= newest.as_of:
        return None
    if not _has_allowed_energy(allowed, newest, as_of, energy_wh):
        return None
    if not _has_allowed_price(allowed, newest, told, as_of):
        return None
    later_us, risen_wh = (as_of - newest.as_of) // _US, energy_wh - newest.energy_wh
    if later_us > _MOST_US or risen_wh > _MOST_WH:
        return None
    energy_at = newest.energy_at if energy_wh == newest.energy_wh else as_of
    course = (updated_at, seen_at, as_of, now, energy_wh, energy_at)
    more = new_tuple(Newest, (*course, told.price, told.price_per_kwh, False, told.soc_percent))
    return new_tuple(KeptReadings, (more, kept.readings + 1, kept.points + _POINT.pack(later_us, risen_wh)))


def _follows(allowed: Allowed, newest: Newest, updated_at: datetime, seen_at: datetime) -> bool:
    """Whether a reading is newer, and not from the future.

    Within a second the record counts more than a webhook, since some of Monta's dates have no fractions.
    """
    known = newest.updated_at
    return (
        updated_at > known
        and (not newest.from_record or updated_at >= known.replace(microsecond=0) + timedelta(seconds=1))
        and seen_at >= newest.seen_at
        and (updated_at <= seen_at or (updated_at - seen_at).total_seconds() <= allowed.skew_s)
    )


def may_decide(allowed: Allowed, newest: Newest, told: Told, now: datetime) -> bool:
    """Whether a reading that is not kept may make a stop due. Not an older one, nor one that shows no more than was
    planned for, however odd its rise is."""
    seen_at = min(told.happened_at or told.updated_at, now)
    as_of = min(told.updated_at, seen_at)
    return told.updated_at > newest.updated_at and not (
        told.said == allowed.said
        and told.reference == allowed.reference
        and _follows(allowed, newest, told.updated_at, seen_at)
        and told.energy_wh >= newest.energy_wh
        and _is_planned_energy(allowed, as_of, told.energy_wh)
        and _has_allowed_price(allowed, newest, told, as_of)
    )


def _has_allowed_energy(allowed: Allowed, newest: Newest, as_of: datetime, energy_wh: int) -> bool:
    risen_wh = energy_wh - newest.energy_wh
    return (
        0 <= risen_wh <= allowed.step_wh
        and _is_possible(risen_wh, allowed.power_w, as_of - newest.energy_at)
        and _is_planned_energy(allowed, as_of, energy_wh)
    )


def _is_planned_energy(allowed: Allowed, as_of: datetime, energy_wh: int) -> bool:
    return energy_wh <= allowed.most_wh and _is_possible(
        energy_wh - allowed.energy_wh, allowed.power_w, as_of - allowed.at
    )


def _has_allowed_price(allowed: Allowed, newest: Newest, told: Told, as_of: datetime) -> bool:
    """Whether the price is within what was planned for. There is one as before, and it fits Monta's own average."""
    price, average = told.price, told.price_per_kwh
    if price is None or newest.price is None:
        return price is newest.price is None
    if not _ZERO <= price <= allowed.most_price:
        return False
    if price > allowed.shown_price:
        planned = allowed.price + allowed.price_per_wh * (told.energy_wh - allowed.energy_wh)
        if allowed.price_per_s:
            planned += allowed.price_per_s * _seconds(as_of - allowed.at)
        if price > planned:
            return False
    if average is None or average <= _ZERO:
        return True
    usual, thousandfold = average * told.energy_wh, price * _THOUSAND
    return usual <= thousandfold * _FACTOR and thousandfold <= usual * _FACTOR


def _is_possible(energy_wh: int, power_w: int, length: timedelta) -> bool:
    """Whether this energy comes to no more than this power on average, counted as `observed_max_w` does."""
    seconds = _seconds(length)
    return (
        energy_wh * 3600 <= power_w * seconds
        if seconds >= 1
        else energy_wh * 3600 * _S <= power_w * (length // _US)
    )


def _seconds(length: timedelta) -> int:
    """Whole seconds, rounded down."""
    return length.days * 86_400 + length.seconds


def beginning(charge: Charge) -> KeptReadings:
    """No readings yet beside a session whose charge is this one."""
    shown = charge.latest
    assert shown.updated_at is not None
    as_of = shown.as_of or shown.seen_at
    return KeptReadings(
        newest=Newest(
            updated_at=shown.updated_at,
            seen_at=charge.seen_at,
            as_of=as_of,
            arrived_at=shown.arrived_at or shown.seen_at,
            energy_wh=charge.energy_wh,
            energy_at=charge.energy_at,
            price=shown.price,
            price_per_kwh=shown.price_per_kwh,
            from_record=shown.from_record,
            soc_percent=shown.soc_percent,
        )
    )


def _points(kept: KeptReadings, most: int = MOST_READINGS) -> list[tuple[int, int]]:
    """When the last readings were (microseconds since 1970) and what they showed (Wh), oldest first."""
    us, wh = (kept.newest.as_of - _EPOCH) // _US, kept.newest.energy_wh
    found: list[tuple[int, int]] = []
    for later_us, risen_wh in reversed(list(_POINT.iter_unpack(kept.points[-most * _POINT.size :]))):
        found.append((us, wh))
        us -= later_us
        wh -= risen_wh
    found.reverse()
    return found


def with_kept(session: PaymentSession, kept: KeptReadings) -> PaymentSession:
    """The session with its kept readings applied, as if each had been when it came."""
    charge = session.charge
    if charge is None or not kept.readings:
        return with_newest(session, kept)
    points = _points(kept)
    power_w, last_us, last_wh = session.observed_max_w, (charge.energy_at - _EPOCH) // _US, charge.energy_wh
    for us, wh in points:
        if wh > last_wh:
            power_w = max(power_w, average_w(wh - last_wh, us - last_us))
            last_us, last_wh = us, wh
    history = with_numbers(session.meter_history, points, by_the_hour=is_by_the_hour(session))
    return replace(with_newest(session, kept), observed_max_w=power_w, meter_history=history)


MOST_LOOKED_AT = 8
"""Kept readings in which the last two that differ are looked for."""


def _with_last_points(session: PaymentSession, kept: KeptReadings) -> MeterHistory:
    """The meter's history with the last readings, and nothing of what they teach."""
    points = list(session.meter_history.points)
    for us, wh in _points(kept, MOST_LOOKED_AT):
        if not points or wh > points[-1].energy_wh:
            points.append(MeterPoint(at=_EPOCH + us * _US, energy_wh=wh))
    return replace(session.meter_history, points=tuple(points))


def with_newest(session: PaymentSession, kept: KeptReadings) -> PaymentSession:
    """Applies the newest kept reading. All else is as with each of them, but for what they taught about power."""
    charge = session.charge
    if charge is None or not kept.readings:
        return replace(session, beside=kept.readings)
    newest = kept.newest
    if newest.energy_wh > charge.energy_wh:
        charge = replace(charge, energy_wh=newest.energy_wh, energy_at=newest.energy_at)
    report = replace(
        charge.latest,
        updated_at=newest.updated_at,
        seen_at=newest.seen_at,
        as_of=newest.as_of,
        arrived_at=newest.arrived_at,
        energy_wh=newest.energy_wh,
        price=newest.price,
        price_per_kwh=newest.price_per_kwh,
        soc_percent=newest.soc_percent,
        claimed_wh=None,
        claimed_price=None,
        set_aside_why=None,
    )
    return replace(
        session,
        charge=merge(charge, report, by_rest=False),
        meter_history=_with_last_points(session, kept),
        version=session.version + kept.readings,
        updated_at=max(session.updated_at, newest.arrived_at),
        beside=kept.readings,
    )
