"""Every metric that the service exports, as its source defines them."""

import ast
from collections.abc import Iterator, Mapping
from functools import cache

from tests.postgres import ROOT

KINDS = {"Counter": ("_total",), "Gauge": ("",), "Histogram": ("_bucket", "_count", "_sum")}
SOURCES = ("app/telemetry.py", "app/api/figures.py")


def _defined(source: str) -> Iterator[tuple[str, set[str]]]:
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS):
            continue
        name, _, *rest = (ast.literal_eval(argument) for argument in node.args)
        labels = set(rest[0]) if rest else set()
        for ending in KINDS[node.func.id]:
            yield name + ending, labels | ({"le"} if ending == "_bucket" else set())


@cache
def exported() -> Mapping[str, set[str]]:
    """The labels of each series by its name, as Prometheus scrapes it."""
    return {
        name: labels
        for source in SOURCES
        for name, labels in _defined((ROOT / source).read_text(encoding="utf-8"))
    }
