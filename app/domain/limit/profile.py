"""What was learned about one charge point: stop latency, meter interval, peak power."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.domain.limit.policy import Policy

UNSURE = 0.5
"""Each stop that is seen halves what is left between the longest seen and the assumed worst."""
PEAKS = 3
"""After so many sessions their highest power says what this charger gives."""
LEAST_SPREAD_MS = 400
TRIED_AFTER = 3
"""So many stops must have been seen before knowing more of Monta's limits is of use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargePointProfile:
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


def latency_bound_s(profile: ChargePointProfile | None, policy: Policy) -> float:
    """The longest that a stop may take here: what was seen, how much it spread, and less and less of the worst case."""
    worst_ms = policy.stop_latency_s * policy.unknown_latency_factor * 1000
    seen = profile.stop_latencies_ms if profile is not None else ()
    if not seen:
        return worst_ms / 1000
    longest, count = max(seen), len(seen)
    spread = max(LEAST_SPREAD_MS, 3 * (longest - min(seen)) / (count + 2), 0.3 * longest / (count + 2))
    left = max(worst_ms, 1.15 * longest) - longest
    return (longest + max(spread, left * UNSURE**count)) / 1000


def tries_the_limit(profile: ChargePointProfile | None) -> bool:
    """Whether the next session should find out if Monta's limits act at once here: only where they do can a stop
    latency that was learned be relied upon, since it may change at any stop."""
    return (
        profile is not None
        and not profile.limit_prompt
        and not profile.limit_missed
        and len(profile.stop_latencies_ms) >= TRIED_AFTER
        and usual_peak_w(profile) is not None
    )


def usual_peak_w(profile: ChargePointProfile | None) -> int | None:
    """The most that this charger ever gave, and a tenth; None: too few sessions to tell."""
    if profile is None or len(profile.peaks_w) < PEAKS:
        return None
    return max(profile.peaks_w) * 11 // 10


SIBLINGS = 3
"""So many charge points of the model must have taught something: one or two may be exceptions."""
SAME = 1.05
"""Sample intervals within this factor are the same one."""


def with_model(own: ChargePointProfile, siblings: Sequence[ChargePointProfile]) -> ChargePointProfile:
    """What a session at a charge point begins with: its own record wherever there is one; else what its model did at
    the operator's other charge points, the worst of it counted as one single stop seen. A limit of Monta's is taken as
    prompt only where all of them were, and a limit that was missed at one of them is missed here too."""
    taught = [each for each in siblings if each.stop_latencies_ms]
    if own.stop_latencies_ms or len(taught) < SIBLINGS:
        return own
    longest_ms = max(max(each.stop_latencies_ms) for each in taught)
    peaks_w = tuple(max(each.peaks_w) for each in taught if each.peaks_w)
    return replace(
        own,
        stop_latencies_ms=(longest_ms,),
        peaks_w=own.peaks_w or peaks_w,
        interval_ms=own.interval_ms or _common_interval_ms(taught),
        step_wh=own.step_wh or _common_step_wh(taught),
        shares_power=max(own.shares_power, min(each.shares_power for each in taught)),
        limit_missed=max(own.limit_missed, *(each.limit_missed for each in taught)),
        limit_prompt=max(own.limit_prompt, min(each.limit_prompt for each in taught)),
    )


def _common_interval_ms(taught: Sequence[ChargePointProfile]) -> int | None:
    known = [each.interval_ms for each in taught if each.interval_ms is not None]
    if len(known) < len(taught) or max(known) > SAME * min(known):
        return None
    return max(known)


def _common_step_wh(taught: Sequence[ChargePointProfile]) -> int | None:
    steps = {each.step_wh for each in taught}
    return steps.pop() if len(steps) == 1 else None
