"""Programmable faults for tests and drills: the next requests, spans of time, and the webhooks' post."""

from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from app.simulator.faults.catalog import Fault, FaultKind


class Unreachable(ConnectionError):
    """Nobody answers. In process it leaves the ASGI app; a test transport turns it into a connect error."""


@dataclass(slots=True)
class _Next:
    method: str
    path: str
    fault: Fault
    times: int


@dataclass(frozen=True, slots=True)
class _Span:
    since: datetime
    until: datetime
    path: str
    fault: Fault


class FaultSchedule:
    """Paths are relative to the base and may hold `*`: `/charges`, `/charges/*/stop`, `*`."""

    def __init__(self) -> None:
        self._next: list[_Next] = []
        self._spans: list[_Span] = []
        self.search_lag_s = 0.0
        """A charge shows up in GET /charges only this long after it was created."""
        self.webhook_loss = 0.0
        """Probability that an event never becomes a webhook."""
        self.forged_signatures = 0
        """The next so many deliveries are signed with another secret."""

    def next(
        self, method: str, path: str, fault_kind: FaultKind, *, seconds: float = 0.0, times: int = 1
    ) -> None:
        """The next `times` requests that match get `fault`; those programmed first come first."""
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
        """Every request from `since` up to `until` gets `fault`: an outage, a storm of 429."""
        self._spans.append(_Span(since, until, path, Fault(fault_kind, seconds)))

    def clear(self) -> None:
        """All is well again."""
        self._next.clear()
        self._spans.clear()
        self.search_lag_s = self.webhook_loss = 0.0
        self.forged_signatures = 0

    def take(self, method: str, path: str, at: datetime) -> Fault | None:
        """What is to happen to this request, used up if it was programmed by number."""
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
