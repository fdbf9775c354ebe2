"""The limit's figures: `python bench/limit.py --sessions 10000 --seed 1` prints a table and writes pictures."""

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from app.domain.decision import decide  # noqa: E402
from app.domain.habits import Habits  # noqa: E402
from bench.limit_play import Outcome, Play  # noqa: E402
from bench.limit_report import pictures, table  # noqa: E402
from bench.limit_visits import visits  # noqa: E402


def played(sessions: int, seed: int) -> list[Outcome]:
    """Each chain of visits teaches its charge point; what was learned is handed from one to the next."""
    found = []
    for chain in visits(sessions, seed):
        habits = Habits()
        for visit in chain:
            outcome, habits = Play(visit, habits).run()
            found.append(outcome)
    return found


def decisions_per_second(seed: int, seconds: float = 2.0) -> float:
    """Decisions on one core, each of a charging session with a fresh reading, whatever its tariff."""
    plays = [Play(visit, Habits()) for chain in visits(60, seed) for visit in chain[:1]]
    cases = []
    for play in plays:
        play.run_until(1500)
        cases.append((play.session, play.at_now))
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        for session, now in cases:
            decide(session, plays[0].policy, now)
        count += len(cases)
    return count / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pictures", type=Path, default=ROOT / "docs" / "pictures")
    chosen = parser.parse_args()
    began = time.perf_counter()
    outcomes = played(chosen.sessions, chosen.seed)
    took_s = time.perf_counter() - began
    print(f"seed {chosen.seed}, {len(outcomes)} sessions in {took_s:.0f} s\n")
    print(table(outcomes))
    print(f"\nDecisions a second on one core: {decisions_per_second(chosen.seed):,.0f}")
    for path in pictures(outcomes, chosen.pictures):
        print(f"wrote {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}")


if __name__ == "__main__":
    main()
