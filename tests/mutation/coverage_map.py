"""Which tests execute a place, and how long each takes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:  # it loads libcst, which every worker of the tests would pay for
    from tests.mutation.mutants import Mutant

IMPORT = "import"
"""Stands for the import of a module where others are tests."""


@dataclass(frozen=True, slots=True)
class CoverageMap:
    """Seconds by test, and the tests by file and line."""

    seconds: dict[str, float]
    lines: dict[str, dict[str, list[str]]]

    @classmethod
    def read(cls, path: Path) -> Self:
        found = json.loads(path.read_text(encoding="utf-8"))
        return cls(found["seconds"], found["lines"])

    def tests_of(self, mutant: "Mutant", at_most_s: float) -> list[str]:
        """Returns the tests to run, the module's own first, then the quickest, `at_most_s` seconds in all."""
        own = str(_own_test(mutant.path))
        found = sorted(
            self._covering(mutant),
            key=lambda test: (not test.startswith(own), self.seconds.get(test, 0.0)),
        )
        chosen: list[str] = []
        total_s = 0.0
        for test in found:
            total_s += self.seconds.get(test, 0.0)
            if chosen and total_s > at_most_s:
                break
            chosen.append(test)
        return chosen

    def _covering(self, mutant: "Mutant") -> set[str]:
        """Tests of the mutated lines, else of the function's; of code that runs at the import the module's, else all
        tests. Most statements of the store are built then."""
        by_line = self.lines.get(str(mutant.path), {})
        if mutant.function is not None:
            found = _tests(by_line, *mutant.lines) or _tests(by_line, *mutant.function)
            if found or not any(_contexts(by_line, *mutant.function)):
                return found
        return _tests(by_line, 0, 1_000_000) or set(self.seconds)


def _contexts(by_line: dict[str, list[str]], first: int, last: int) -> Iterator[str]:
    """Yields what executed these lines: a test, or IMPORT."""
    return (test or IMPORT for line, tests in by_line.items() if first <= int(line) <= last for test in tests)


def _tests(by_line: dict[str, list[str]], first: int, last: int) -> set[str]:
    return set(_contexts(by_line, first, last)) - {IMPORT}


def _own_test(path: Path) -> Path:
    """Returns tests/a/test_b.py of app/a/b.py."""
    return Path("tests", *path.parts[1:-1], f"test_{path.name}")
