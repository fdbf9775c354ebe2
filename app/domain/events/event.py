"""What is news for a terminal maker: which changes make an event, and of which type."""

from collections.abc import Mapping
from enum import StrEnum

from app.domain.session.payment_session import PaymentSession, Status


class EventType(StrEnum):
    """What an event says. Their names are those of the API."""

    CHARGING = "payment_session.charging"
    STOPPING = "payment_session.stopping"
    SETTLED = "payment_session.settled"
    NOT_STARTED = "payment_session.not_started"
    NEEDS_ATTENTION = "payment_session.needs_attention"
    CHARGE_POINT_CHANGED = "charge_point.changed"


OF_STATUS: Mapping[Status, EventType] = {
    Status.CHARGING: EventType.CHARGING,
    Status.STOPPING: EventType.STOPPING,
    Status.COMPLETED: EventType.SETTLED,
    Status.NOT_STARTED: EventType.NOT_STARTED,
}
"""Statuses that are news. The others follow from these, or from the terminal's own call."""


def session_events(before: PaymentSession, after: PaymentSession) -> tuple[EventType, ...]:
    """Returns the events of a saved change of a session, in their order. A status that was passed within one change is
    none."""
    found = []
    if after.status is not before.status and after.status in OF_STATUS:
        found.append(OF_STATUS[after.status])
    if after.needs_attention and not before.needs_attention:
        found.append(EventType.NEEDS_ATTENTION)
    return tuple(found)
