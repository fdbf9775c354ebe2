"""The faults that a replica may be dealt where it waits: by chance, or at one chosen place."""

from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Protocol


class Place(StrEnum):
    """Where a replica waits for somebody else; everything between two places is done without a break."""

    BEGIN = "begin"
    """Before a transaction."""
    COMMIT = "commit"
    """A transaction is about to be committed, or (lost, crash after) has just been."""
    SEND = "send"
    """A request to Monta is about to be written; what Monta answers comes back through the same place."""


class ReplicaFault(StrEnum):
    """BEFORE has no effect on the world outside; AFTER has, but the replica does not learn of it."""

    NONE = "none"
    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    FREEZE_BEFORE = "freeze before"
    FREEZE_AFTER = "freeze after"
    LOST_BEFORE = "lost before"
    """The connection breaks: an error, and nothing was done."""
    LOST_AFTER = "lost after"
    """The connection breaks: an error, though it was done."""
    CANCEL_BEFORE = "cancel before"
    """The request's handler is cancelled, for its client hung up; what the handler shields goes on."""
    CANCEL_AFTER = "cancel after"


BEFORE = frozenset({ReplicaFault.CRASH_BEFORE, ReplicaFault.FREEZE_BEFORE, ReplicaFault.LOST_BEFORE})
AFTER = frozenset({ReplicaFault.CRASH_AFTER, ReplicaFault.FREEZE_AFTER, ReplicaFault.LOST_AFTER})
CANCELS = frozenset({ReplicaFault.CANCEL_BEFORE, ReplicaFault.CANCEL_AFTER})
CRASHES = frozenset({ReplicaFault.CRASH_BEFORE, ReplicaFault.CRASH_AFTER})
FREEZES = frozenset({ReplicaFault.FREEZE_BEFORE, ReplicaFault.FREEZE_AFTER})
LOSSES = frozenset({ReplicaFault.LOST_BEFORE, ReplicaFault.LOST_AFTER})


class FaultInjector(Protocol):
    """Decides at each place what happens to the replica that waits there."""

    def fault(self, replica: str, place: Place, what: str) -> ReplicaFault: ...

    def freeze_s(self) -> float:
        """How long a frozen replica stays so."""
        ...

    def down_s(self) -> float:
        """How long a crashed replica stays away."""
        ...

    def lock_s(self) -> float | None:
        """How long a transaction that holds locks lets others go on now; None: it does not."""
        ...


@dataclass(frozen=True, slots=True)
class Rates:
    """Faults per passage, each from 0 to 1."""

    crash: float = 0.0
    freeze: float = 0.0
    lost_commit: float = 0.0
    lost_line: float = 0.0
    """Of requests to Monta that reach the network."""
    stall: float = 0.0
    """Of requests to Monta: frozen when they are about to leave."""
    hang_up: float = 0.0
    """Of whatever the handler of a request waits for."""
    lock_wait: float = 0.0
    """Of statements and commits of a transaction that holds locks: others go on meanwhile, and may wait for them."""


LOCKS_KEPT_S = (0.0, 0.5, 3.0)
"""PostgreSQL ends a transaction that idles for 5 s."""


class RandomFaults:
    """Faults by chance while `dangerous`; none in the calm."""

    def __init__(self, rates: Rates, rng: Random, *, longest_freeze_s: float) -> None:
        self.dangerous = True
        self._longest_freeze_s = longest_freeze_s
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
        return self._rng.uniform(20, self._longest_freeze_s)

    def down_s(self) -> float:
        return self._rng.choice((0.5, 5.0, 40.0, 90.0))

    def lock_s(self) -> float | None:
        if not self.dangerous or not self._rates.lock_wait or self._rng.random() >= self._rates.lock_wait:
            return None
        return self._rng.choice(LOCKS_KEPT_S)


class Once:
    """One fault at the n-th place that is passed; counts all of them, so that a first run tells how many there are."""

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
