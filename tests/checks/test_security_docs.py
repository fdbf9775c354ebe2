"""docs/security.md has every chapter of ASVS 5.0, and each test that it names exists."""

import re

from tests.checks.all_tests import NAMED, all_tests
from tests.postgres import ROOT

PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| V(\d+) [^|]+ \| ([a-z ]+) \|([^|]*)\|([^|]*)\|$", re.MULTILINE)


def test_each_chapter_has_a_state_with_its_tests_or_its_reason() -> None:
    rows = ROW.findall(PAGE)
    assert [int(number) for number, *_ in rows] == list(range(1, 18))
    for number, state, tests, reason in rows:
        assert state in ("met", "partly", "not applicable"), number
        assert bool(NAMED.search(tests)) == (state != "not applicable"), number
        assert state == "met" or reason.strip(), number


def test_each_named_test_exists() -> None:
    named = set(NAMED.findall(PAGE))
    assert len(named) > 30
    assert sorted(named - set(all_tests())) == []
