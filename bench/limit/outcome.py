"""The outcome of one simulated session."""

from dataclasses import dataclass

from bench.limit.visits import Visit


@dataclass(frozen=True)
class Outcome:
    """The outcome of a visit; amounts in minor units, shares of the authorization."""

    visit: Visit
    forced: bool
    """The car would have exceeded the authorization, so the charge had to be stopped."""
    over_minor: float
    idle_over_minor: float
    unused: float
    by_monta_limit: bool
    basis: str
    reads: int
    decisions: int
    monta_limit_alone_over_minor: float
    ideal_unused: float
    peer_over_minor: float
    peer_unused: float
    latency_bound_ms: int
    latency_ms: int
