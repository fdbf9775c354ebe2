"""docs/faults.md is complete: each fault has its row, named tests exist, and tests with a fault's number are
named."""

import re
from pathlib import Path

from tests.checks.all_tests import NAMED, all_tests

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
FAULTS = {f"F{n}" for n in range(1, 97)} | {"F66a"}
FIELD = {f"F{n}" for n in range(97, 121)}
"""Found by trying; those that are handled have rows in section G."""
ROW = re.compile(r"^\| (F\d+a?) \|(.*)\|$", re.MULTILINE)
NUMBER = re.compile(r"(?:^|_)[Ff](\d+a?)(?=_|$)")


def rows_of(section: str) -> dict[str, str]:
    """The rows of the tables whose section begins with these words, by the fault's number."""
    parts = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    text = "".join(part for part in parts if part.startswith(section))
    assert text, section
    return dict(ROW.findall(text))


HANDLED = {fault: row for letter in "ABCDEFG" for fault, row in rows_of(f"{letter}. ").items()}
MISSING = rows_of("Not handled")


def test_every_fault_has_exactly_one_row() -> None:
    assert set(HANDLED) - FIELD == FAULTS
    for fault in HANDLED:
        rows = [found for found, _ in ROW.findall(PAGE) if found == fault]
        assert len(rows) == 1 + (fault in MISSING), fault


def test_every_test_that_the_page_names_exists() -> None:
    named = set(NAMED.findall(PAGE))
    assert len(named) > 150
    assert sorted(named - all_tests()) == []


def test_a_fault_without_a_test_stands_first_among_what_is_not_handled() -> None:
    untested = {fault for fault, row in HANDLED.items() if not NAMED.search(row)}
    assert sorted(untested - set(MISSING)) == []
    assert PAGE.index("## Not handled") < PAGE.index("## A. ")


def test_every_test_that_bears_a_faults_number_stands_in_its_row() -> None:
    numbered = {(f"F{n}", test) for test in all_tests() for n in NUMBER.findall(test.partition("::")[2])}
    assert {fault for fault, _ in numbered} <= set(HANDLED)
    assert sorted(f"{fault}: `{test}`" for fault, test in numbered if test not in HANDLED[fault]) == []
