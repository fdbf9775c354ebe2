"""Injects faults where a replica waits: at random, or at one chosen point."""

from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Protocol


class Place(StrEnum):
    """Where a replica waits for others; everything between two of these points runs without interruption."""

    BEGIN = "begin"
    """Before a transaction."""
    COMMIT = "commit"
    """A transaction is about to be committed, or (lost, crash after) has just been committed."""
    SEND = "send"
    """A request to Monta is about to be written; its answer returns through the same point."""


class ReplicaFault(StrEnum):
    """BEFORE has no effect outside; AFTER has one, of which the replica does not learn."""

    NONE = "none"
    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    FREEZE_BEFORE = "freeze before"
    FREEZE_AFTER = "freeze after"
    LOST_BEFORE = "lost before"
    """The connection breaks: an error, and no effect."""
    LOST_AFTER = "lost after"
    """The connection breaks: an error after the effect."""
    CANCEL_BEFORE = "cancel before"
    """The request's handler is cancelled because its client disconnected; shielded work goes on."""
    CANCEL_AFTER = "cancel after"


BEFORE = frozenset({ReplicaFault.CRASH_BEFORE, ReplicaFault.FREEZE_BEFORE, ReplicaFault.LOST_BEFORE})
AFTER = frozenset({ReplicaFault.CRASH_AFTER, ReplicaFault.FREEZE_AFTER, ReplicaFault.LOST_AFTER})
CANCELS = frozenset({ReplicaFault.CANCEL_BEFORE, ReplicaFault.CANCEL_AFTER})
CRASHES = frozenset({ReplicaFault.CRASH_BEFORE, ReplicaFault.CRASH_AFTER})
FREEZES = frozenset({ReplicaFault.FREEZE_BEFORE, ReplicaFault.FREEZE_AFTER})
LOSSES = frozenset({ReplicaFault.LOST_BEFORE, ReplicaFault.LOST_AFTER})


class FaultInjector(Protocol):
    """Decides at each point which fault the replica gets."""

    def fault(self, replica: str, place: Place, what: str) -> ReplicaFault: ...

    def freeze_s(self) -> float:
        """Returns the duration of a freeze in seconds."""
        ...

    def down_s(self) -> float:
        """Returns how long a crashed replica stays down, in seconds."""
        ...

    def lock_s(self) -> float | None:
        """Returns how long a transaction with locks lets others go on now; None: it does not."""
        ...


@dataclass(frozen=True, slots=True)
class Rates:
    """Probabilities of faults per passage, each from 0 to 1."""

    crash: float = 0.0
    freeze: float = 0.0
    lost_commit: float = 0.0
    lost_line: float = 0.0
    """Of requests to Monta that reach the network."""
    stall: float = 0.0
    """Of requests to Monta: frozen when they are about to leave."""
    hang_up: float = 0.0
    """Of every wait of a request's handler."""
    lock_wait: float = 0.0
    """Of statements and commits of a transaction that holds locks: others go on meanwhile, and may wait for them."""


LOCKS_KEPT_S = (0.0, 0.5, 3.0)
"""PostgreSQL ends a transaction that idles for 5 s."""


class RandomFaults:
    """Random faults while `dangerous`; none in the quiet phase."""

    def __init__(
        self, rates: Rates, rng: Random, *, longest_freeze_s: float, shortest_freeze_s: float = 20.0
    ) -> None:
        self.dangerous = True
        self._longest_freeze_s = longest_freeze_s
        self._shortest_freeze_s = shortest_freeze_s
        self._rates = rates
        self._rng = rng

    def fault(self, replica: str, place: Place, what: str) -> ReplicaFault:
        if not self.dangerous:
            return ReplicaFault.NONE
        draw = self._rng.random()
        after = self._rng.random() < 0.5
        rates = self._rates
        if draw < rates.crash:
            return (
                ReplicaFault.CRASH_AFTER if after and place is not Place.BEGIN else ReplicaFault.CRASH_BEFORE
            )
        draw -= rates.crash
        if draw < rates.freeze:
            return (
                ReplicaFault.FREEZE_AFTER
                if after and place is not Place.BEGIN
                else ReplicaFault.FREEZE_BEFORE
            )
        draw -= rates.freeze
        lost = {Place.BEGIN: 0.0, Place.COMMIT: rates.lost_commit, Place.SEND: rates.lost_line}[place]
        if place is Place.SEND and lost <= draw < lost + rates.stall:
            return ReplicaFault.FREEZE_BEFORE
        if draw < lost:
            return ReplicaFault.LOST_AFTER if after else ReplicaFault.LOST_BEFORE
        if lost <= draw < lost + rates.hang_up:
            return (
                ReplicaFault.CANCEL_AFTER
                if after and place is not Place.BEGIN
                else ReplicaFault.CANCEL_BEFORE
            )
        return ReplicaFault.NONE

    def freeze_s(self) -> float:
        return self._rng.uniform(self._shortest_freeze_s, self._longest_freeze_s)

    def down_s(self) -> float:
        return self._rng.choice((0.5, 5.0, 40.0, 90.0))

    def lock_s(self) -> float | None:
        if not self.dangerous or not self._rates.lock_wait or self._rng.random() >= self._rates.lock_wait:
            return None
        return self._rng.choice(LOCKS_KEPT_S)


class Once:
    """One fault at the n-th point passed; counts all points, so that a first run shows their number."""

    def __init__(
        self, at: int | None, fault: ReplicaFault, *, freeze_s: float = 60.0, down_s: float = 5.0
    ) -> None:
        self.passed: list[str] = []
        self._at = at
        self._fault = fault
        self._freeze_s = freeze_s
        self._down_s = down_s

    def fault(self, replica: str, place: Place, what: str) -> ReplicaFault:
        self.passed.append(f"{replica} {place} {what}")
        return self._fault if len(self.passed) - 1 == self._at else ReplicaFault.NONE

    def freeze_s(self) -> float:
        return self._freeze_s

    def down_s(self) -> float:
        return self._down_s

    def lock_s(self) -> float | None:
        return None
