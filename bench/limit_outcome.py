"""What became of one simulated session."""

from dataclasses import dataclass

from bench.limit_visits import Visit


@dataclass(frozen=True)
class Outcome:
    """What became of a visit; amounts in minor units, shares of the reservation."""

    visit: Visit
    forced: bool
    """The reservation would have been exceeded by the car: somebody had to stop it."""
    over_minor: float
    idle_over_minor: float
    unused: float
    by_guard: bool
    basis: str
    reads: int
    decisions: int
    guard_alone_over_minor: float
    ideal_unused: float
    peer_over_minor: float
    peer_unused: float
    latency_bound_ms: int
    latency_ms: int
