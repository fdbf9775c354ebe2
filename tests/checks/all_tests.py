"""The names of all tests, for pages that name them."""

import re
from functools import cache

from tests.postgres import ROOT

NAMED = re.compile(r"`([\w/]+\.py::\w+)`")
"""A test as pages name it."""
DEFINED = re.compile(r"^ *(?:async )?def (test_\w+)\(", re.MULTILINE)


@cache
def all_tests() -> frozenset[str]:
    """`path/below/tests.py::name` of every test function, whatever class or file it is in."""
    return frozenset(
        f"{path.relative_to(ROOT / 'tests')}::{name}"
        for path in (ROOT / "tests").rglob("*.py")
        for name in DEFINED.findall(path.read_text(encoding="utf-8"))
    )
