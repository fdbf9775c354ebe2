"""`python -m tests.world --seeds N [--seed S]`: worlds on every core, and the story of those that break a rule."""

import argparse
import asyncio
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack
from queue import Queue

from app.store.migrate import migrate
from tests.postgres import TEMPLATE, running_cluster
from tests.world.loop import WorldLoop
from tests.world.run import Ended, quiet, run_seeds

LOT = 25
"""Seeds that one worker runs on one ground before it takes the next lot."""
SHOWN = 3
"""Stories of broken worlds that are printed whole; of the others only the seed and the rule."""
SAYS_EVERY_S = 10.0

_url = ""
"""The database of this worker."""


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="run.py world",
        description="Simulated worlds: the whole of Tapwatt under trouble, from one seed each.",
    )
    parser.add_argument("--seeds", type=int, default=500, help="how many (500)")
    parser.add_argument("--seed", type=int, default=1, help="the first (1)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (one a core)")
    parser.add_argument("--story", action="store_true", help="tell the stories though nothing breaks")
    args = parser.parse_args(argv)
    if args.seeds < 1 or args.workers < 1:
        parser.error("--seeds and --workers must be 1 or more")
    seeds = range(args.seed, args.seed + args.seeds)
    print(f"worlds {seeds[0]} to {seeds[-1]}, {args.workers} workers", flush=True)
    ended = run_all(seeds, workers=args.workers, stories=args.story)
    return tell([each for each in ended if each.violation is not None or args.story])


def run_all(seeds: range, *, workers: int, stories: bool) -> list[Ended]:
    """Every seed on some worker, each worker with a database of its own; says how it goes."""
    spawn = multiprocessing.get_context("spawn")
    ended: list[Ended] = []
    with ExitStack() as stack:
        cluster = stack.enter_context(running_cluster())
        cluster.execute(f"CREATE DATABASE {TEMPLATE}")
        migrate(cluster.url_of(TEMPLATE))
        urls = spawn.Queue()
        for _ in range(workers):
            urls.put(stack.enter_context(cluster.database(TEMPLATE)))
        pool = stack.enter_context(spawn.Pool(workers, initializer=take_database, initargs=(urls,)))
        lots = [(list(seeds[n : n + LOT]), stories) for n in range(0, len(seeds), LOT)]
        began, said_s = time.monotonic(), 0.0
        for lot in pool.imap_unordered(run_lot, lots):
            ended += lot
            elapsed_s = time.monotonic() - began
            if elapsed_s - said_s >= SAYS_EVERY_S or len(ended) == len(seeds):
                said_s = elapsed_s
                broken = sum(each.violation is not None for each in ended)
                print(
                    f"{len(ended)} worlds, {broken} broken, {len(ended) / elapsed_s:.2f} a second", flush=True
                )
    return ended


def take_database(urls: "Queue[str]") -> None:
    global _url  # noqa: PLW0603 - one for the process, given once
    _url = urls.get()


def run_lot(lot: tuple[list[int], bool]) -> list[Ended]:
    """In a worker."""
    seeds, stories = lot
    with quiet(), asyncio.Runner(loop_factory=WorldLoop) as runner:
        return runner.run(_run_lot(seeds, stories))


async def _run_lot(seeds: Iterable[int], stories: bool) -> list[Ended]:
    return [ended async for ended in run_seeds(_url, seeds, stories=stories)]


def tell(ended: list[Ended]) -> int:
    """Stories, then a line for each broken seed; 1 when there is one."""
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
