"""What charge points of one model have in common: a start for one that taught nothing of its own yet."""

from collections.abc import Sequence
from dataclasses import replace

from app.domain.habits import Habits

SIBLINGS = 3
"""So many charge points of the model must have taught something: one or two may be exceptions."""
SAME = 1.05
"""Sample intervals within this factor are the same one."""


def with_model(own: Habits, siblings: Sequence[Habits]) -> Habits:
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


def _common_interval_ms(taught: Sequence[Habits]) -> int | None:
    known = [each.interval_ms for each in taught if each.interval_ms is not None]
    if len(known) < len(taught) or max(known) > SAME * min(known):
        return None
    return max(known)


def _common_step_wh(taught: Sequence[Habits]) -> int | None:
    steps = {each.step_wh for each in taught}
    return steps.pop() if len(steps) == 1 else None
