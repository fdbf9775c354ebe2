"""The mutation run: which mutants it makes, which tests it chooses, and what it makes of their result."""

import ast
from pathlib import Path
from typing import TYPE_CHECKING

from tests.mutation.copies import Copy
from tests.mutation.coverage_map import CoverageMap
from tests.mutation.judge import diff_of, judge

if TYPE_CHECKING:
    from tests.mutation.mutants import Mutant

SOURCE = '''"""A module."""

PAUSE_S = 10
LATE = {"a": min(PAUSE_S, 5)}


def price(wh: int, *, fee: int = 2) -> int:
    if wh > 0:
        return max(wh * 3, fee)
    raise ValueError("no energy")
'''
MODULE = Path("app", "domain", "price.py")


def written(root: Path, source: str = SOURCE) -> "list[Mutant]":
    from tests.mutation.mutants import mutants_of

    module = root / MODULE
    module.parent.mkdir(parents=True, exist_ok=True)
    module.write_text(source, encoding="utf-8")
    return mutants_of(root, MODULE)


def test_each_mutant_is_the_module_with_one_line_changed(tmp_path: Path) -> None:
    mutants = written(tmp_path)
    changed = [
        next(
            line.strip() for line in diff_of(SOURCE, mutant.source()).splitlines() if line.startswith("+")
        ).strip("+ ")
        for mutant in mutants
    ]
    assert sorted(changed) == [
        'LATE = {"a": min(5)}',
        'LATE = {"a": min(PAUSE_S, )}',
        "def price(wh: int, *, fee: int = 3) -> int:",
        "if wh > 1:",
        "if wh >= 0:",
        "return max(fee)",
        "return max(wh * 3, )",
        "return max(wh * 4, fee)",
        "return max(wh / 3, fee)",
    ]
    assert all(ast.parse(mutant.source()) for mutant in mutants)


def test_the_modules_own_tests_come_first_then_the_quickest_until_the_time_is_used(tmp_path: Path) -> None:
    mutant = next(each for each in written(tmp_path) if each.lines[0] == 9)
    own, quick, slow = "tests/domain/test_price.py::test_it", "tests/domain/test_a.py::a", "tests/b.py::b"
    elsewhere = "tests/domain/test_a.py::elsewhere"
    coverage = CoverageMap(
        {own: 2.0, quick: 0.1, slow: 9.0, elsewhere: 0.1},
        {str(MODULE): {"8": [elsewhere], "9": [slow, quick, own, ""]}},
    )
    assert coverage.tests_of(mutant, 60) == [own, quick, slow]
    assert coverage.tests_of(mutant, 5) == [own, quick]
    assert coverage.tests_of(mutant, 1) == [own]


def test_a_function_that_only_the_import_calls_is_tried_by_the_tests_of_its_module(tmp_path: Path) -> None:
    mutant = next(each for each in written(tmp_path) if each.lines[0] == 9)
    test = "tests/domain/test_price.py::test_it"
    at_import = {"8": [""], "9": [""], "30": [test]}
    assert CoverageMap({test: 1.0}, {str(MODULE): at_import}).tests_of(mutant, 60) == [test]
    assert CoverageMap({test: 1.0}, {str(MODULE): {"30": [test]}}).tests_of(mutant, 60) == []


def test_a_mutant_is_killed_survives_or_is_not_covered_and_the_copy_is_restored(tmp_path: Path) -> None:
    test = "test_price.py::test_price"
    (tmp_path / "test_price.py").write_text(
        "from app.domain.price import price\n\n\ndef test_price():\n    assert price(2) == 6\n",
        encoding="utf-8",
    )
    by_line = {str(line): [test] for line in range(7, 10)}
    coverage = CoverageMap({test: 0.1}, {str(MODULE): by_line})
    mutants = {each.source().splitlines()[each.lines[0] - 1].strip(): each for each in written(tmp_path)}
    with Copy(tmp_path) as copy:
        assert judge(mutants["return max(wh * 4, fee)"], copy, coverage, 5).outcome == "killed"
        assert judge(mutants["if wh > 1:"], copy, coverage, 5).outcome == "survived"
        assert judge(mutants["if wh > 1:"], copy, CoverageMap({}, {}), 5).outcome == "not covered"
    assert (tmp_path / MODULE).read_text(encoding="utf-8") == SOURCE
