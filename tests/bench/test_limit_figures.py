"""app/domain/limit/stop_plan: The limit's figures on a small scale: the bench's own sessions, asserted generously."""

from functools import cache

from bench.limit.figures import decisions_per_second, played
from bench.limit.outcome import Outcome
from bench.limit.report import quantile, tight

SEED, SESSIONS = 11, 220
HALF_A_CENT = 0.5


@cache
def outcomes() -> list[Outcome]:
    return played(SESSIONS, SEED)


def test_the_authorization_is_never_exceeded_while_one_limit_works() -> None:
    limited = [o for o in outcomes() if o.visit.point.limit_mode != "dark-off"]
    assert len(limited) > 100
    assert [o for o in limited if o.over_minor > HALF_A_CENT and not _jumped_past_a_late_limit(o)] == []


def test_montas_limit_alone_keeps_the_authorization_when_it_acts_at_once() -> None:
    alone = [o for o in outcomes() if o.visit.point.limit_mode in ("on", "dark")]
    assert [o for o in alone if o.monta_limit_alone_over_minor > HALF_A_CENT] == []


def test_where_no_stop_works_the_overrun_is_bounded_by_power_and_time() -> None:
    for o in outcomes():
        most_minor = o.visit.point.rated_w * 1000 / 3600 * 0.1
        assert o.over_minor <= most_minor


def test_hardly_anything_of_the_authorization_is_left_unused() -> None:
    steady = [o.unused * 100 for o in outcomes() if tight(o) and o.visit.point.meter == "60"]
    assert len(steady) > 20
    assert quantile(steady, 0.5) <= 1.0


def test_we_use_nearly_as_much_as_the_best_policy_with_the_same_information() -> None:
    steady = [o for o in outcomes() if tight(o) and o.visit.point.meter == "60"]
    assert quantile([o.unused - o.ideal_unused for o in steady], 0.5) * 100 <= 0.3


def test_a_peer_that_stops_at_the_first_reading_above_the_limit_overruns_nearly_always() -> None:
    forced = [o for o in outcomes() if o.forced]
    assert sum(o.peer_over_minor > HALF_A_CENT for o in forced) > 0.9 * len(forced)


def test_the_bench_is_repeatable() -> None:
    assert played(12, 5) == played(12, 5)


def test_a_decision_costs_microseconds() -> None:
    """A tenth of the figure asked for: other work shares the machine that runs the tests."""
    assert min(decisions_per_second(1, seconds=0.5).values()) > 2_000


def _jumped_past_a_late_limit(o: Outcome) -> bool:
    return o.visit.point.limit_mode == "late" and o.visit.point.shared
