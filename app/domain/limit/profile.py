"""The learned profile of a charge point: stop latency, meter interval, power."""

from collections.abc import Sequence

from app.domain.limit.policy import Policy
from app.domain.units.frozen import frozen, replace

UNSURE = 0.5
"""The prior's weight halves with each observed stop."""
PEAKS = 3
"""After this many sessions the highest power counts as the charger's own."""
LEAST_SPREAD_MS = 400
TRIED_AFTER = 3
"""Stops that must have been observed before a trial of Monta's limits is useful."""


@frozen(kw_only=True)
class ChargePointProfile:
    """Learned from settled sessions at one charge point; the default is pessimistic."""

    stop_latencies_ms: tuple[int, ...] = ()
    """From the stop call to the end of the energy, newest last."""
    peaks_w: tuple[int, ...] = ()
    """The highest power of each session, newest last."""
    interval_ms: int | None = None
    step_wh: int | None = None
    shares_power: int = 0
    """Number of further sessions in which the power is expected to jump at any moment."""
    limit_missed: int = 0
    """Number of further sessions in which Monta's limits are not trusted here."""
    limit_prompt: int = 0
    """Number of further sessions in which Monta's limits are trusted to act at once, as they were observed to."""


def latency_bound_s(profile: ChargePointProfile | None, policy: Policy) -> float:
    """Returns the longest expected stop latency in seconds. By the observed maximum and spread, and ever less of the
    worst case."""
    worst_ms = policy.stop_latency_s * policy.unknown_latency_factor * 1000
    seen = profile.stop_latencies_ms if profile is not None else ()
    if not seen:
        return worst_ms / 1000
    longest, count = max(seen), len(seen)
    spread = max(LEAST_SPREAD_MS, 3 * (longest - min(seen)) / (count + 2), 0.3 * longest / (count + 2))
    left = max(worst_ms, 1.15 * longest) - longest
    return (longest + max(spread, left * UNSURE**count)) / 1000


def tries_the_limit(profile: ChargePointProfile | None) -> bool:
    """Whether the next session should test that Monta's limits act at once. Only there can a learned stop latency be
    relied upon, since it may change at any stop."""
    return (
        profile is not None
        and not profile.limit_prompt
        and not profile.limit_missed
        and len(profile.stop_latencies_ms) >= TRIED_AFTER
        and usual_peak_w(profile) is not None
    )


def usual_peak_w(profile: ChargePointProfile | None) -> int | None:
    """The highest observed power plus a tenth; None: too few sessions."""
    if profile is None or len(profile.peaks_w) < PEAKS:
        return None
    return max(profile.peaks_w) * 11 // 10


SIBLINGS = 3
"""Charge points of the model that must have a profile: one or two may be exceptions."""
SAME = 1.05
"""Sample intervals within this factor are the same one."""


def with_model(own: ChargePointProfile, siblings: Sequence[ChargePointProfile]) -> ChargePointProfile:
    """Combines a charge point's own profile with those of the same model. Its own record wins; else the worst of the
    others counts as one observed stop. Monta's limits count as prompt only where all of them were, and as missed where
    one was."""
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
