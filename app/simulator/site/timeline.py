"""Performs planned events in order of time, without sleeping."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

Action = Callable[[datetime], None]
"""Called with the time at which it was due."""


def in_ms(at: datetime) -> datetime:
    """Truncates to milliseconds. So prices are computed from exactly the times shown."""
    return at.astimezone(UTC).replace(microsecond=at.microsecond // 1000 * 1000)


@dataclass(order=True, slots=True)
class Appointment:
    """One future event. The sequence number keeps the order of events due at the same time."""

    at: datetime
    sequence: int
    action: Action = field(compare=False)
    canceled: bool = field(compare=False, default=False)

    def cancel(self) -> None:
        self.canceled = True


class Timeline:
    """The planned events. `now` never falls; while an event is performed it is that event's time."""

    def __init__(self, now: datetime) -> None:
        self.now = in_ms(now)
        self._agenda: list[Appointment] = []
        self._sequence = 0
        self.on_change: Callable[[], None] = lambda: None

    def at(self, when: datetime, action: Action) -> Appointment:
        """Performs `action` at `when`, or at once if that has passed."""
        self._sequence += 1
        appointment = Appointment(in_ms(max(when, self.now)), self._sequence, action)
        heapq.heappush(self._agenda, appointment)
        self.on_change()
        return appointment

    def after(self, seconds: float, action: Action) -> Appointment:
        return self.at(self.now + timedelta(seconds=seconds), action)

    def next_at(self) -> datetime | None:
        """When the next event is due."""
        while self._agenda and self._agenda[0].canceled:
            heapq.heappop(self._agenda)
        return self._agenda[0].at if self._agenda else None

    def advance(self, to: datetime) -> None:
        """Performs everything due up to `to`, in order. Sets the time to it."""
        while (due := self.next_at()) is not None and due <= to:
            appointment = heapq.heappop(self._agenda)
            self.now = max(self.now, due)
            appointment.action(self.now)
        self.now = max(self.now, in_ms(to))
