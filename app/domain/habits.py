"""What was learned about one charge point: how soon it stops, how its meter reports, whether its power is shared."""

from dataclasses import dataclass

from app.domain.policy import Policy

UNSURE = 0.5
"""Each stop that is seen halves what is left between the longest seen and the assumed worst."""
PEAKS = 3
"""After so many sessions their highest power says what this charger gives."""
LEAST_SPREAD_MS = 400
TRIED_AFTER = 3
"""So many stops must have been seen before knowing more of Monta's limits is of use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """Learned from settled sessions at one charge point; the default knows nothing and is pessimistic."""

    stop_latencies_ms: tuple[int, ...] = ()
    """From the stop call to the end of the energy, newest last."""
    peaks_w: tuple[int, ...] = ()
    """The highest power of each session, newest last."""
    interval_ms: int | None = None
    step_wh: int | None = None
    shares_power: int = 0
    """For so many more sessions the charger's power is taken to jump at any moment."""
    limit_missed: int = 0
    """For so many more sessions Monta's limits are not believed to act here."""
    limit_prompt: int = 0
    """For so many more sessions Monta's limits are believed to act at once here: they were seen to."""


def latency_bound_s(habits: Habits | None, policy: Policy) -> float:
    """The longest that a stop may take here: what was seen, how much it spread, and less and less of the worst case."""
    worst_ms = policy.stop_latency_s * policy.unknown_latency_factor * 1000
    seen = habits.stop_latencies_ms if habits is not None else ()
    if not seen:
        return worst_ms / 1000
    longest, count = max(seen), len(seen)
    spread = max(LEAST_SPREAD_MS, 3 * (longest - min(seen)) / (count + 2), 0.3 * longest / (count + 2))
    left = max(worst_ms, 1.15 * longest) - longest
    return (longest + max(spread, left * UNSURE**count)) / 1000


def tries_the_limit(habits: Habits | None) -> bool:
    """Whether the next session should find out if Monta's limits act at once here: only where they do can a stop
    latency that was learned be relied upon, since it may change at any stop."""
    return (
        habits is not None
        and not habits.limit_prompt
        and not habits.limit_missed
        and len(habits.stop_latencies_ms) >= TRIED_AFTER
        and usual_peak_w(habits) is not None
    )


def usual_peak_w(habits: Habits | None) -> int | None:
    """The most that this charger ever gave, and a tenth; None: too few sessions to tell."""
    if habits is None or len(habits.peaks_w) < PEAKS:
        return None
    return max(habits.peaks_w) * 11 // 10
