"""Merges reports of Monta's charge into what is known of it."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

from app.domain.units.frozen import frozen, replace
from app.domain.units.ids import ChargeId, ChargePointId


class ChargeState(StrEnum):
    """Monta's charge states (STATES). `OTHER` also stands for any name that we do not know."""

    PAYING = "paying"
    RESERVED = "reserved"
    STARTING = "starting"
    SCHEDULED = "scheduled"
    CHARGING = "charging"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    RELEASING = "releasing"
    RELEASED = "released"
    COMPLETED = "completed"
    OTHER = "other"


ENDED = frozenset({ChargeState.STOPPED, ChargeState.RELEASING, ChargeState.RELEASED, ChargeState.COMPLETED})
"""No energy flows in these states. Only `completed` is final, the others may be restarted."""


POWERLESS = frozenset({ChargeState.PAYING, ChargeState.RESERVED, ChargeState.STARTING, ChargeState.SCHEDULED})
"""States before the start: a charge that shows one of these has given no energy so far."""

NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@frozen(kw_only=True)
class ChargeReport:
    """One charge object as Monta showed it at `seen_at`. That is the time of the request for a REST answer, for a
    webhook the event's own time (never later than its arrival), so that an old event does not count as new.

    Prices are in major units of `currency`; energy is in watt-hours. What Monta left out is None.
    """

    id: ChargeId
    state: ChargeState
    seen_at: datetime
    updated_at: datetime | None
    created_at: datetime | None = None
    charge_point_id: ChargePointId | None = None
    partner_external_id: str | None = None
    energy_wh: int | None = None
    price: Decimal | None = None
    price_per_kwh: Decimal | None = None
    """Monta's own average, in the unit of `price`."""
    price_limit: Decimal | None = None
    kwh_limit: Decimal | None = None
    currency: str | None = None
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    completed_at: datetime | None = None
    failed_at: datetime | None = None
    failure_reason: str | None = None
    stop_reason: str | None = None
    cable_plugged_in_at: datetime | None = None
    soc_percent: int | None = None
    """The battery's charge, where car and charge point report it."""
    arrived_at: datetime | None = None
    """When this arrived here, by our clock: what it shows happened before. A question may have been asked long before
    its answer came (F119). None: as `seen_at`."""
    as_of: datetime | None = None
    """Since when at the latest the record was like this, by our clock. Set when the report is applied."""
    from_record: bool = False
    """Read from the record (REST), not reported by a webhook. Set when it is merged."""
    claimed_wh: int | None = None
    """A reported energy that is impossible: set aside, and `energy_wh` is None."""
    claimed_price: Decimal | None = None
    """A reported price that is impossible: set aside, and `price` is None."""
    set_aside_why: str | None = None
    """Why energy or price was set aside, in words."""
    said: str | None = None
    """Stands for limits, currency and dates as Monta wrote them: equal where these are. None: it is not known."""


@frozen(kw_only=True)
class Charge:
    """All that is known of one charge. The join of every report that came, in any order and any number of times.

    `latest` is the report that counts for state and price; `energy_wh` is the highest meter reading ever reported (the
    limit never trusts a meter that runs backwards) and `energy_at` the earliest moment at which it is known to have
    been reached; `seen_at` is the newest moment at which Monta's record was known to look like some report.
    """

    latest: ChargeReport
    energy_wh: int
    energy_at: datetime
    seen_at: datetime
    final_read: bool = False
    """The record itself (REST, not a webhook) was read in state `completed`, which settlement requires."""
    completed_reported_at: datetime | None = None
    """When a webhook last reported `completed`: a reason to read, whatever else is newer within that second."""
    last_priced: ChargeReport | None = None
    """The newest report that had a price, when the latest has none."""
    last_named: ChargeReport | None = None
    """The newest report that named a currency, when the latest names none."""
    last_metered: ChargeReport | None = None
    """The newest report with any energy, believed or set aside, when the latest had none."""
    metered_at: datetime | None = None
    """The newest moment for which a report confirms the energy: by a believed reading, or because the charge had not
    begun."""

    @property
    def id(self) -> ChargeId:
        return self.latest.id

    @property
    def state(self) -> ChargeState:
        return self.latest.state

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def priced(self) -> ChargeReport | None:
        """The newest report with a price. A later report without one does not clear it."""
        return self.latest if self.latest.price is not None else self.last_priced

    @property
    def named(self) -> ChargeReport | None:
        """The newest report that names a currency. A later report without one does not clear it."""
        return self.latest if self.latest.currency is not None else self.last_named

    @property
    def currency(self) -> str | None:
        """The charge's currency, as Monta named it last."""
        return None if self.named is None else self.named.currency

    @property
    def metered(self) -> ChargeReport | None:
        """The newest report with any energy."""
        return self.latest if _has_energy(self.latest) else self.last_metered

    @property
    def claims_energy(self) -> bool:
        """Whether Monta's newest energy is an impossible one."""
        return self.metered is not None and self.metered.claimed_wh is not None

    @property
    def gave_nothing(self) -> bool:
        """Whether no energy is known, and Monta claims none."""
        return not self.energy_wh and not self.claims_energy


def merge(known: Charge | None, report: ChargeReport, *, by_rest: bool) -> Charge:
    """Merges one more report; commutative, associative and idempotent.

    The record's own `completed` wins over everything, else the newest `updated_at` does; within a second the record
    wins over a webhook, since some dates come without fractions. Both must be of the same charge.
    """
    if report.from_record is not by_rest:
        report = replace(report, from_record=by_rest)
    fresh = Charge(
        latest=report,
        energy_wh=report.energy_wh or 0,
        energy_at=report.as_of or min(report.updated_at or report.seen_at, report.seen_at),
        seen_at=report.seen_at,
        final_read=by_rest and report.state is ChargeState.COMPLETED,
        completed_reported_at=report.seen_at
        if not by_rest and report.state is ChargeState.COMPLETED
        else None,
        metered_at=report.seen_at if report.energy_wh is not None or report.state in POWERLESS else None,
    )
    return fresh if known is None else _join(known, fresh)


def _join(one: Charge, other: Charge) -> Charge:
    if one.id != other.id:
        raise ValueError(f"reports of two charges cannot be merged: {one.id} and {other.id}")
    energy_wh = max(one.energy_wh, other.energy_wh)
    latest = _newest((one.latest, other.latest)) or one.latest
    priced = (report for report in (one.priced, other.priced) if report is not None)
    named = (report for report in (one.named, other.named) if report is not None)
    metered = (report for report in (one.metered, other.metered) if report is not None)
    return Charge(
        latest=latest,
        last_priced=_newest(priced) if latest.price is None else None,
        last_named=_newest(named) if latest.currency is None else None,
        last_metered=None if _has_energy(latest) else _newest(metered),
        metered_at=max(filter(None, (one.metered_at, other.metered_at)), default=None),
        energy_wh=energy_wh,
        energy_at=min(c.energy_at for c in (one, other) if c.energy_wh == energy_wh),
        seen_at=max(one.seen_at, other.seen_at),
        final_read=one.final_read or other.final_read,
        completed_reported_at=max(
            filter(None, (one.completed_reported_at, other.completed_reported_at)), default=None
        ),
    )


def _has_energy(report: ChargeReport) -> bool:
    return report.energy_wh is not None or report.claimed_wh is not None


def _newest(reports: Iterable[ChargeReport]) -> ChargeReport | None:
    """The report that takes precedence over all others; None: there is none."""
    newest: ChargeReport | None = None
    for report in reports:
        if newest is None or _comes_before(newest, report):
            newest = report
    return newest


def _comes_before(one: ChargeReport, other: ChargeReport) -> bool:
    """Orders reports totally, so that the result does not depend on arrival."""
    ranks = _precedence(one), _precedence(other)
    return ranks[0] < ranks[1] or (ranks[0] == ranks[1] and repr(one) < repr(other))


def _precedence(report: ChargeReport) -> tuple[bool, datetime, bool, datetime, datetime, int]:
    updated_at = report.updated_at or NEVER
    return (
        report.from_record and report.state is ChargeState.COMPLETED,
        updated_at.replace(microsecond=0),
        report.from_record,
        updated_at,
        report.seen_at,
        report.energy_wh or 0,
    )


class PriceUnit(StrEnum):
    """The unit of Charge.price. Monta's reference and all recorded charges say major, its newest text says
    minor. It is a setting of the operator. Limits are in major units in every source."""

    MAJOR = "major"
    MINOR = "minor"
