"""Measures the limit: `python -m bench.limit --sessions 10000 --seed 1` prints a table and writes pictures."""

import argparse
import time
from datetime import datetime
from pathlib import Path

from app.domain.limit.profile import ChargePointProfile
from app.domain.session.next_step import decide
from app.domain.session.payment_session import PaymentSession
from bench.limit.outcome import Outcome
from bench.limit.play import POLICY, Play
from bench.limit.report import pictures, table
from bench.limit.visits import visits

ROOT = Path(__file__).resolve().parents[2]

ROUNDS = 8


def played(sessions: int, seed: int) -> list[Outcome]:
    """Plays each chain of visits in order; what one visit learned of the charge point is given to the next."""
    found = []
    for chain in visits(sessions, seed):
        profile = ChargePointProfile()
        for visit in chain:
            outcome, profile = Play(visit, profile).run()
            found.append(outcome)
    return found


def decisions_per_second(seed: int, seconds: float = 2.0) -> dict[str, float]:
    """Decisions per second of one core, each of a charging session with a fresh reading, by kind of tariff; the
    best of several rounds, since the machine may be shared."""
    cases: dict[str, list[tuple[PaymentSession, datetime]]] = {}
    for chain in visits(120, seed):
        play = Play(chain[0], ChargePointProfile())
        play.run_until(1500)
        cases.setdefault(play.visit.tariff_kind, []).append((play.session, play.at_now))
    found = dict.fromkeys(sorted(cases), 0.0)
    for kind in [*found] * ROUNDS:
        count, began = 0, time.process_time()
        while time.process_time() - began < seconds / len(cases) / ROUNDS:
            for session, now in cases[kind]:
                decide(session, POLICY, now)
            count += len(cases[kind])
        found[kind] = max(found[kind], count / (time.process_time() - began))
    return found


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
    speeds = decisions_per_second(chosen.seed).items()
    print("\nDecisions a second on one core: " + ", ".join(f"{kind} {speed:,.0f}" for kind, speed in speeds))
    for path in pictures(outcomes, chosen.pictures):
        print(f"wrote {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}")
