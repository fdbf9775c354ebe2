"""docs/asvs.md has each requirement of ASVS 5.0 up to level 2 once, with a test that exists or a reason."""

import re

import pytest

from tests.checks.all_tests import NAMED, all_tests
from tests.postgres import ROOT

REQUIREMENTS = """
1.1: 1 2            1.2: 1* 2* 3* 4* 5* 6 7 8 9   1.3: 1* 2* 3 4 5 6 7 8 9 10 11   1.4: 1 2 3   1.5: 1* 2
2.1: 1* 2 3         2.2: 1* 2* 3   2.3: 1* 2 3 4  2.4: 1
3.2: 1* 2*          3.3: 1* 2 3 4  3.4: 1* 2* 3 4 5 6  3.5: 1* 2* 3* 4 5   3.7: 1 2
4.1: 1* 2 3         4.2: 1         4.3: 1 2       4.4: 1* 2 3 4
5.1: 1              5.2: 1* 2* 3   5.3: 1* 2*     5.4: 1 2 3
6.1: 1* 2 3         6.2: 1* 2* 3* 4* 5* 6* 7* 8* 9 10 11 12    6.3: 1* 2* 3 4   6.4: 1* 2* 3 4   6.5: 1 2 3 4 5
6.6: 1 2 3          6.8: 1 2 3 4
7.1: 1 2 3          7.2: 1* 2* 3* 4*   7.3: 1 2   7.4: 1* 2* 3 4 5   7.5: 1 2   7.6: 1 2
8.1: 1* 2           8.2: 1* 2* 3   8.3: 1*        8.4: 1
9.1: 1* 2* 3*       9.2: 1* 2 3 4
10.1: 1 2           10.2: 1 2      10.3: 1 2 3 4  10.4: 1* 2* 3* 4* 5* 6 7 8 9 10 11   10.5: 1 2 3 4 5   10.6: 1 2
10.7: 1 2 3
11.1: 1 2           11.2: 1 2 3    11.3: 1* 2* 3  11.4: 1* 2 3 4   11.5: 1   11.6: 1
12.1: 1* 2 3        12.2: 1* 2*    12.3: 1 2 3 4
13.1: 1             13.2: 1 2 3 4 5   13.3: 1 2   13.4: 1* 2 3 4 5
14.1: 1 2           14.2: 1* 2 3 4   14.3: 1* 2 3
15.1: 1* 2 3        15.2: 1* 2 3   15.3: 1* 2 3 4 5 6 7
16.1: 1             16.2: 1 2 3 4 5   16.3: 1 2 3 4   16.4: 1 2 3   16.5: 1 2 3
17.1: 1             17.2: 1 2 3 4  17.3: 1 2
"""
"""Numbers of OWASP ASVS 5.0.0 (github.com/OWASP/ASVS): a star means level 1, the others are of level 2."""
LEVELS = {
    f"{section}.{number.rstrip('*')}": "1" if "*" in number else "2"
    for section, numbers in re.findall(r"(\d+\.\d):((?: \d+\*?)+)", REQUIREMENTS)
    for number in numbers.split()
}
PAGE = (ROOT / "docs/asvs.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([\d.]+) \| (\d) \| ([a-z ]+) \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
LINK = re.compile(r"\]\([^)]+\)")


def test_each_requirement_up_to_level_2_stands_there_once() -> None:
    assert len(LEVELS) == 253
    assert [(number, level) for number, level, *_ in ROWS] == list(LEVELS.items())
    assert len(ROWS) == len(re.findall(r"^\| \d", PAGE, re.MULTILINE))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_is_met_names_its_test_or_page_and_all_else_its_reason(row: tuple[str, ...]) -> None:
    _, _, state, about, shown = row
    assert state in ("met", "not applicable", "not met")
    assert about.strip()
    if state == "met":
        assert NAMED.search(shown) or LINK.search(shown), "its link is checked with all others"
    else:
        assert NAMED.sub("", shown).strip(" ;:")


def test_the_counts_are_those_of_the_rows() -> None:
    states = [state for _, _, state, *_ in ROWS]
    counts = [states.count(state) for state in ("met", "not applicable", "not met")]
    assert [int(n) for n in re.findall(r"(\d+) (?:are met|do not apply|are not met)", PAGE)] == counts


def test_each_named_test_exists() -> None:
    named = set(NAMED.findall(PAGE + (ROOT / "docs/security.md").read_text(encoding="utf-8")))
    assert len(named) > 80
    assert sorted(named - all_tests()) == []
