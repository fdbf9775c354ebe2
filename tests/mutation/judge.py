"""Writes a mutant into a copy of the checkout and runs the tests that execute it."""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.coverage_map import CoverageMap
from tests.mutation.mutants import Mutant

NOTICED = frozenset({"killed", "timeout"})
START_S = 60.0
"""Added to a run's expected duration, times `SLOWER`, before it counts as hung: imports and PostgreSQL's start."""
SLOWER = 5.0


@dataclass(frozen=True, slots=True)
class Verdict:
    mutant: Mutant
    outcome: str
    tests: int
    seconds: float


def judge(mutant: Mutant, copy: Path, coverage: CoverageMap, tests_s: float) -> Verdict:
    """Writes the mutant, runs the tests that execute it until one fails, and puts the module back."""
    tests = coverage.tests_of(mutant, tests_s)
    if not tests:
        return Verdict(mutant, "not covered", 0, 0.0)
    module, began = copy / mutant.path, time.monotonic()
    original = module.read_text(encoding="utf-8")
    try:
        _write(module, mutant.source)
        expected_s = sum(coverage.seconds.get(test, 0.0) for test in tests)
        outcome = _run(tests, copy, START_S + SLOWER * expected_s)
    finally:
        _write(module, original)
    return Verdict(mutant, outcome, len(tests), time.monotonic() - began)


def _write(module: Path, source: str) -> None:
    """Writes a module and removes its bytecode, whose age and size may still fit."""
    module.write_text(source, encoding="utf-8")
    for compiled in module.parent.glob(f"__pycache__/{module.stem}.*.pyc"):
        compiled.unlink()


def are_known(tests: set[str], copy: Path) -> bool:
    """Returns whether pytest finds them all: a test that it does not find would look like one that fails."""
    return not tests or _pytest(sorted(tests), copy, 600, "--collect-only") == 0


def _run(tests: list[str], copy: Path, timeout_s: float) -> str:
    try:
        return "killed" if _pytest(tests, copy, timeout_s) else "survived"
    except subprocess.TimeoutExpired:
        return "timeout"


def _pytest(tests: list[str], copy: Path, timeout_s: float, *options: str) -> int:
    """Returns pytest's exit status; the tests are named in a file, since there may be thousands."""
    chosen = copy / "chosen-tests.txt"
    chosen.write_text("\n".join(tests), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", *options]
    return subprocess.run(
        [*command, f"@{chosen}"], cwd=copy, capture_output=True, timeout=timeout_s, check=False
    ).returncode
