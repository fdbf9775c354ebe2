"""What happens when: an agenda of future events, performed in order of time. Nothing here sleeps."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

Action = Callable[[datetime], None]
"""Performed with the time at which it was due."""


def in_ms(at: datetime) -> datetime:
    """Cut to milliseconds: what the wire shows is then exactly what the prices were computed from."""
    return at.astimezone(UTC).replace(microsecond=at.microsecond // 1000 * 1000)


@dataclass(order=True, slots=True)
class Appointment:
    """One future event; the sequence number keeps the order of those due at the same time."""

    at: datetime
    sequence: int
    action: Action = field(compare=False)
    canceled: bool = field(compare=False, default=False)

    def cancel(self) -> None:
        self.canceled = True


class Timeline:
    """`now` never falls; while an event is performed it is that event's time."""

    def __init__(self, now: datetime) -> None:
        self.now = in_ms(now)
        self._agenda: list[Appointment] = []
        self._sequence = 0
        self.on_change: Callable[[], None] = lambda: None

    def at(self, when: datetime, action: Action) -> Appointment:
        """Perform `action` at `when`, or as soon as possible if that has passed."""
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
        """Perform everything due up to `to`, in order, and stand there."""
        while (due := self.next_at()) is not None and due <= to:
            appointment = heapq.heappop(self._agenda)
            self.now = max(self.now, due)
            appointment.action(self.now)
        self.now = max(self.now, in_ms(to))
