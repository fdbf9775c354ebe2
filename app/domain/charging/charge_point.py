"""One charge point as Monta shows it: rating and state."""

from datetime import datetime
from enum import StrEnum

from app.domain.units.frozen import frozen
from app.domain.units.ids import ChargePointId


class ChargePointState(StrEnum):
    """Monta's charge point states (reference, Charge points). `OTHER` also stands for any name we do not
    know."""

    AVAILABLE = "available"
    BUSY = "busy"
    BUSY_BLOCKED = "busy-blocked"
    BUSY_CHARGING = "busy-charging"
    BUSY_NON_CHARGING = "busy-non-charging"
    BUSY_NON_RELEASED = "busy-non-released"
    BUSY_RESERVED = "busy-reserved"
    BUSY_SCHEDULED = "busy-scheduled"
    ERROR = "error"
    DISCONNECTED = "disconnected"
    PASSIVE = "passive"
    MAINTENANCE = "maintenance"
    OTHER = "other"


OUT_OF_SERVICE = frozenset(
    {
        ChargePointState.ERROR,
        ChargePointState.DISCONNECTED,
        ChargePointState.PASSIVE,
        ChargePointState.MAINTENANCE,
    }
)
"""States in which a charge point cannot charge. A state that we do not know does not count as one."""


class CurrentType(StrEnum):
    """What flows through the cable."""

    AC = "ac"
    DC = "dc"


@frozen(kw_only=True)
class Place:
    """Where a charge point is, as far as Monta says; `evse_id` is that of eMI3."""

    name: str | None = None
    evse_id: str | None = None
    site_id: str | None = None
    address: str | None = None


@frozen(kw_only=True)
class ChargePoint:
    """One Monta charge point: one EVSE. Connectors are plug types without states of their own.

    `available` does not mean unplugged, and `cable_plugged_in` is a hint. Power in watts. What Monta left out
    is None. Monta shows no price here: it is found through `price_group_id` (digits, as all of Monta's ids).
    """

    id: ChargePointId
    state: ChargePointState
    seen_at: datetime
    updated_at: datetime | None
    name: str | None = None
    type: CurrentType | None = None
    max_power_w: int | None = None
    connectors: tuple[str, ...] = ()
    cable_plugged_in: bool | None = None
    price_group_id: str | None = None
    team_id: str | None = None
    model: str | None = None
    """Brand and model."""
    evse_id: str | None = None
    site_id: str | None = None
    address: str | None = None
    """In one line."""
    deleted_at: datetime | None = None


@frozen(kw_only=True)
class ChargePointReport:
    """One charge point as a webhook reports it.

    Of `shown`, only the fields in `reported_fields` were present and valid.

    `updated_at` and `event_at` are Monta's times, never later than `received_at`, which is ours. `is_gone`: it was
    deleted, and nothing else is reported.
    """

    id: ChargePointId
    shown: ChargePoint | None
    reported_fields: frozenset[str]
    updated_at: datetime
    event_at: datetime
    received_at: datetime
    is_gone: bool = False

    @property
    def order(self) -> tuple[datetime, datetime]:
        """Orders reports by the record's own time, then by the event's."""
        return self.updated_at, self.event_at
