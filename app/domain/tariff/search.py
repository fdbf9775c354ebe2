"""Where a cost that never falls passes an amount, in few steps when it is nearly straight."""

from collections.abc import Callable


def latest_within(cost: Callable[[int], int], allowed: int, end: int, resolution: int) -> int | None:
    """The last point up to `end` at which the cost is at most `allowed`, early by `resolution` at most.

    None: at `end` it still is. 0: at 0 it is not, or no longer just after. Each round tries where a straight
    line would pass, then a point just beside that, then the middle; so the gap halves at least.
    """
    high, high_cost = end, cost(end)
    if high_cost <= allowed:
        return None
    low, low_cost = 0, cost(0)
    if low_cost > allowed:
        return 0
    while high - low > resolution:
        straight = low + (allowed - low_cost) * (high - low) // (high_cost - low_cost)
        for point in (straight, low + resolution, (low + high) // 2):
            at = min(max(point, low + 1), high - 1)
            found = cost(at)
            if found <= allowed:
                low, low_cost = at, found
            else:
                high, high_cost = at, found
            if high - low <= resolution:
                break
    return low
