"""`python -m tests.mutation`: mutates a package in a copy of the checkout and counts what the tests notice."""

import argparse
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from tests.mutation.copies import Copy, checkouts
from tests.mutation.coverage_map import CoverageMap
from tests.mutation.judge import NOTICED, Verdict, judge
from tests.mutation.mutants import Mutant, mutants_of

TESTS = {
    "app/domain": ["tests/domain"],
    "app/store": ["tests/store", "tests/flows", "tests/api", "tests/journeys"],
    "app/flows": ["tests/flows", "tests/api", "tests/journeys"],
}
"""The tests that may notice a mutant of a package; of them those run that execute the mutated lines."""
COLLECTED_WITHIN_S = 120.0


def main(argv: list[str]) -> int:
    args = _arguments(argv)
    with checkouts(args.workers) as copies:
        first, began = copies[0].folder, time.monotonic()
        known = args.coverage or first / "coverage.json"
        if not known.exists() and (failed := _cover(first, known, args.package)):
            return failed
        modules = [path for path in _modules(first, args.package) if _is_wanted(path, args.only)]
        every = [mutant for path in modules for mutant in mutants_of(first, path)]
        random.Random(args.seed).shuffle(every)  # so that a smaller sample is the beginning of a larger one
        drawn, coverage = every[: args.sample], CoverageMap.read(known)
        print(f"{len(drawn)} of {len(every)} mutants, after {time.monotonic() - began:.0f} s", flush=True)
        tests = {test for each in drawn for test in coverage.tests_of(each, args.tests_s)}
        if not copies[0].passes(sorted(tests), "--collect-only", most_s=COLLECTED_WITHIN_S):
            print("The file of --coverage names tests that are gone; remove it.")
            return 1
        verdicts = list(_run_all(drawn, copies, coverage, args.tests_s))
    _report(verdicts, args)
    return 0


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py mutate", description="Mutation run over one package.")
    parser.add_argument("--package", choices=TESTS, default="app/domain")
    parser.add_argument("--only", nargs="+", help="only modules whose path has one of these texts in it")
    parser.add_argument("--sample", type=int, default=100, help="mutants drawn (100)")
    parser.add_argument("--seed", type=int, default=1, help="draws the same mutants of the same code (1)")
    parser.add_argument("--workers", type=int, default=1, help="processes, each with a copy of its own (1)")
    parser.add_argument(
        "--tests-s", type=float, default=40.0, help="at most this many seconds of tests a mutant (40)"
    )
    parser.add_argument(
        "--coverage", type=Path, help="file that keeps which tests cover what, for a next run"
    )
    return parser.parse_args(argv)


def _modules(copy: Path, package: str) -> list[Path]:
    return [path.relative_to(copy) for path in sorted((copy / package).rglob("*.py"))]


def _is_wanted(path: Path, only: list[str] | None) -> bool:
    return only is None or any(text in str(path) for text in only)


def _cover(copy: Path, known: Path, package: str) -> int:
    """Runs the package's tests once under coverage; a failure ends the run, since no verdict would mean a thing."""
    command = [sys.executable, "-m", "tests.mutation.covered", str(known.resolve()), package, *TESTS[package]]
    done = subprocess.run(command, cwd=copy, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        known.unlink(missing_ok=True)
        print(f"The tests fail without a mutant:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.returncode


def _run_all(
    mutants: list[Mutant], copies: list[Copy], coverage: CoverageMap, tests_s: float
) -> Iterator[Verdict]:
    """Yields verdicts in the order of the mutants, one run at a time in each copy."""
    free: SimpleQueue[Copy] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def one(mutant: Mutant) -> Verdict:
        copy = free.get()
        try:
            return judge(mutant, copy, coverage, tests_s)
        finally:
            free.put(copy)

    with ThreadPoolExecutor(len(copies)) as pool:
        for number, verdict in enumerate(pool.map(one, mutants), 1):
            where = f"{verdict.mutant.path}:{verdict.mutant.lines[0]} {verdict.mutant.operator}"
            line = (
                f"{number:4} {verdict.outcome:11} {verdict.seconds:5.1f} s {verdict.tests:4} tests  {where}"
            )
            print(line, flush=True)
            if verdict.outcome not in NOTICED:
                print(verdict.diff, flush=True)
            yield verdict


def _report(verdicts: list[Verdict], args: argparse.Namespace) -> None:
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    drawn = Counter(verdict.mutant.operator for verdict in verdicts)
    noticed = Counter(verdict.mutant.operator for verdict in verdicts if verdict.outcome in NOTICED)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    print(f"\n{args.package}, seed {args.seed}: {noticed.total()} of {len(verdicts)} noticed ({counts})")
    for operator, count in drawn.most_common():
        print(f"  {operator:16} {noticed[operator]:4} of {count:4}")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
