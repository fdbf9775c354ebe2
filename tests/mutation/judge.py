"""Writes a mutant into a copy of the checkout and runs the tests that execute it."""

import time
from dataclasses import dataclass
from difflib import unified_diff
from typing import TYPE_CHECKING

from tests.mutation.copies import Copy
from tests.mutation.coverage_map import CoverageMap

if TYPE_CHECKING:
    from tests.mutation.mutants import Mutant

NOTICED = frozenset({"killed", "timeout"})
START_S = 30.0
"""Added to the expected duration of a run, times `SLOWER`, for imports and PostgreSQL's start."""
SLOWER = 5.0


@dataclass(frozen=True, slots=True)
class Verdict:
    mutant: "Mutant"
    outcome: str
    tests: int
    seconds: float
    diff: str


def judge(mutant: "Mutant", copy: Copy, coverage: CoverageMap, tests_s: float) -> Verdict:
    """Writes the mutant, runs the tests that execute it until one fails, and puts the module back."""
    tests, original, source = coverage.tests_of(mutant, tests_s), mutant.module.code, mutant.source()
    began, diff = time.monotonic(), diff_of(original, source)
    if not tests:
        return Verdict(mutant, "not covered", 0, 0.0, diff)
    expected_s = sum(coverage.seconds.get(test, 0.0) for test in tests)
    copy.write(mutant.path, source)
    try:
        outcome = "survived" if copy.passes(tests, most_s=START_S + SLOWER * expected_s) else "killed"
    except TimeoutError:
        outcome = "timeout"
    finally:
        copy.write(mutant.path, original)
    return Verdict(mutant, outcome, len(tests), time.monotonic() - began, diff)


def diff_of(original: str, source: str) -> str:
    lines = unified_diff(original.splitlines(keepends=True), source.splitlines(keepends=True), n=1)
    return "".join(line for line in lines if not line.startswith(("---", "+++")))
