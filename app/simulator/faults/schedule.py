"""Schedules faults for requests, spans of time and webhook deliveries. For the next requests."""

from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from app.domain.units.frozen import frozen
from app.simulator.faults.catalog import Fault, FaultKind


class Unreachable(ConnectionError):
    """No answer. In process it leaves the ASGI app; a test transport turns it into a connect error."""


@dataclass(slots=True)
class _Next:
    method: str
    path: str
    fault: Fault
    times: int


@frozen
class _Span:
    since: datetime
    until: datetime
    path: str
    fault: Fault


class FaultSchedule:
    """The scheduled faults. Paths are relative to the base and may hold `*`: `/charges`, `/charges/*/stop`, `*`."""

    def __init__(self) -> None:
        self._next: list[_Next] = []
        self._spans: list[_Span] = []
        self.search_lag_s = 0.0
        """A charge shows up in GET /charges only this long after it was created."""
        self.webhook_loss = 0.0
        """Probability that an event never becomes a webhook."""
        self.forged_signatures = 0
        """Number of next deliveries that are signed with another secret."""

    def next(
        self, method: str, path: str, fault_kind: FaultKind, *, seconds: float = 0.0, times: int = 1
    ) -> None:
        """Gives `fault` to the next `times` requests that match. In the order of programming."""
        self._next.append(_Next(method, path, Fault(fault_kind, seconds), times))

    def between(
        self,
        since: datetime,
        until: datetime,
        fault_kind: FaultKind,
        *,
        path: str = "*",
        seconds: float = 0.0,
    ) -> None:
        """Gives `fault` to every request from `since` to `until`. Such as an outage, or a burst of 429."""
        self._spans.append(_Span(since, until, path, Fault(fault_kind, seconds)))

    def clear(self) -> None:
        """Removes all faults."""
        self._next.clear()
        self._spans.clear()
        self.search_lag_s = self.webhook_loss = 0.0
        self.forged_signatures = 0

    def take(self, method: str, path: str, at: datetime) -> Fault | None:
        """Returns the fault for this request. A fault for a number of requests is used up."""
        for span in self._spans:
            if span.since <= at < span.until and fnmatchcase(path, span.path):
                return span.fault
        for rule in self._next:
            if rule.method == method and fnmatchcase(path, rule.path):
                rule.times -= 1
                if rule.times <= 0:
                    self._next.remove(rule)
                return rule.fault
        return None
