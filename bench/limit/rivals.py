"""Reference policies for the limit: the best with the same information, and a peer that reacts too late."""

from typing import Protocol

from bench.limit.physics import NEVER, Cost, Course
from bench.limit.visits import Visit


class Played(Protocol):
    """What a reference policy sees of a session: its course, the meter's samples, and when each arrives (arrival,
    sample)."""

    visit: Visit
    course: Course
    cost: Cost
    samples: list[float]
    arrivals: list[tuple[float, float]]
    latency_s: float
    full_s: float
    exact_s: float
    monta_limit_s: float


def ideal_end_s(play: Played) -> float:
    """Where the best policy with the same information ends: each reading at once and exact, power as in the last
    interval (the rating where Monta's limit is off), and only the knowable part of the stop latency."""
    visit = play.visit
    last_s, power_w = 0.0, float(visit.point.rated_w)
    limited = visit.point.limit_mode in ("on", "late", "dark")
    known = limited and visit.index is not None and visit.index >= 1
    latency_s = visit.latency_range_s[1] if known else 30.0
    for index, at_s in enumerate([0.0, *play.samples]):
        if index >= 2 and limited:
            power_w = (play.course.energy_wh(at_s) - play.course.energy_wh(last_s)) * 3600 / (at_s - last_s)
        last_s = at_s
        per_s = power_w / 3600 * max(play.cost.rate(at_s), play.cost.rate(at_s + 60)) + play.cost.minute_s
        left = visit.authorized_minor - play.cost.at(at_s)
        send_s = at_s + left / per_s - latency_s
        following = play.samples[index] if index < len(play.samples) else NEVER
        if send_s <= following:
            return min(play.full_s, max(send_s, at_s) + play.latency_s, play.monta_limit_s)
    return min(play.full_s, play.monta_limit_s, play.exact_s + 400)


def peer_end_s(play: Played) -> float:
    """Where a peer ends that stops at the first reading at or above the limit, as it arrives."""
    for arrival_s, at_s in play.arrivals:
        if play.cost.at(at_s) >= play.visit.authorized_minor:
            return min(play.full_s, arrival_s + play.latency_s)
    return min(play.full_s, play.exact_s + 300 + play.latency_s)
