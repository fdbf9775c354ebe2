"""The names of all tests, for pages that name them."""

import ast
import re
from collections.abc import Iterator

from tests.postgres import ROOT

NAMED = re.compile(r"`([\w/]+\.py::\w+)`")
"""A test as pages name it."""


def all_tests() -> Iterator[str]:
    """`path/below/tests.py::name` of every test function, whatever class or file it is in."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield f"{path.relative_to(ROOT / 'tests')}::{node.name}"
