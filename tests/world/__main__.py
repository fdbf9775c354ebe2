"""`python -m tests.world --seeds N [--seed S]`: runs worlds on every core and prints the story of each broken
rule."""

import argparse
import os
import sys
import time

from tests.world.crash_points import JOURNEYS
from tests.world.run import Ended
from tests.world.workers import find_points, pool_of, run_lot, strike_one

LOT = 25
"""Seeds that one worker runs in one environment before it takes the next batch."""
SHOWN = 3
"""Number of stories of broken worlds printed in full; of the others only the seed and the rule."""
SAYS_EVERY_S = 10.0


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="run.py world",
        description="Simulated worlds: the whole of Tapwatt with faults, from one seed each.",
    )
    parser.add_argument("--seeds", type=int, default=500, help="how many (500)")
    parser.add_argument("--seed", type=int, default=1, help="the first (1)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (one a core)")
    parser.add_argument("--story", action="store_true", help="print the stories even when no rule breaks")
    parser.add_argument(
        "--crash-points",
        action="store_true",
        help="instead of seeds: every crash point of every journey, or one in --every",
    )
    parser.add_argument("--every", type=int, default=1, help="strikes each Nth crash point (1: all)")
    args = parser.parse_args(argv)
    if min(args.seeds, args.workers, args.every) < 1:
        parser.error("--seeds, --workers and --every must be 1 or more")
    if args.crash_points:
        return strike_all(args.workers, args.every)
    seeds = range(args.seed, args.seed + args.seeds)
    print(f"worlds {seeds[0]} to {seeds[-1]}, {args.workers} workers", flush=True)
    ended = run_all(seeds, workers=args.workers, stories=args.story)
    return report([each for each in ended if each.violation is not None or args.story])


def run_all(seeds: range, *, workers: int, stories: bool) -> list[Ended]:
    """Runs every seed on some worker and reports progress."""
    lots = [(list(seeds[n : n + LOT]), stories) for n in range(0, len(seeds), LOT)]
    ended: list[Ended] = []
    began, said_s = time.monotonic(), 0.0
    with pool_of(workers) as pool:
        for lot in pool.imap_unordered(run_lot, lots):
            ended += lot
            for each in lot:
                if each.violation is not None:
                    print(f"seed {each.seed}: {each.violation}", flush=True)
            elapsed_s = time.monotonic() - began
            if elapsed_s - said_s >= SAYS_EVERY_S or len(ended) == len(seeds):
                said_s = elapsed_s
                broken = sum(each.violation is not None for each in ended)
                print(
                    f"{len(ended)} worlds, {broken} broken, {len(ended) / elapsed_s:.2f} a second", flush=True
                )
    return ended


def strike_all(workers: int, every: int) -> int:
    """Runs the crash points of all journeys, one in `every`; 1 when one of them broke a rule."""
    struck = broken = 0
    with pool_of(workers) as pool:
        points = [point for found in pool.imap(find_points, JOURNEYS) for point in found[::every]]
        print(f"{len(points)} crash points of {len(JOURNEYS)} journeys, {workers} workers", flush=True)
        for point, violation in pool.imap_unordered(strike_one, points, chunksize=5):
            struck += 1
            if violation is not None:
                broken += 1
                print(f"{point}\n    {violation}", flush=True)
            if struck % 500 == 0:
                print(f"{struck} struck, {broken} broken", flush=True)
    print(f"{struck} struck, {broken} violations")
    return 1 if broken else 0


def report(ended: list[Ended]) -> int:
    """Prints stories, then a line for each broken seed; 1 when there is one."""
    ended = sorted(ended, key=lambda each: each.seed)
    for each in ended[:SHOWN]:
        print(f"\n{each.story}\n")
    broken = [each for each in ended if each.violation is not None]
    for each in broken:
        print(
            f"seed {each.seed}: {each.violation}\n    again: python3 run.py world --seed {each.seed} --seeds 1"
        )
    print(f"{len(broken)} violations")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
