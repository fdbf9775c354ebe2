"""Every exported metric is updated somewhere."""

import ast

from prometheus_client import Counter, Histogram

from app.telemetry import ProcessTelemetry
from tests.checks.sources import modules, nodes, text_of, tree_of
from tests.postgres import ROOT

TELEMETRY = ROOT / "app" / "telemetry.py"


def takers() -> dict[str, set[str]]:
    """The attributes that each method of ProcessTelemetry uses, beside its constructor."""
    (found,) = [
        n for n in tree_of(TELEMETRY).body if isinstance(n, ast.ClassDef) and n.name == "ProcessTelemetry"
    ]
    return {
        method.name: {node.attr for node in ast.walk(method) if isinstance(node, ast.Attribute)}
        for method in found.body
        if isinstance(method, ast.FunctionDef) and method.name != "__init__"
    }


def names_telemetry(expression: ast.expr) -> bool:
    """Whether the word stands in it; only names can hold it, and texts."""
    return any("telemetry" in str(value) for node in ast.walk(expression) for value in vars(node).values())


def called() -> set[str]:
    """Every method that the code outside calls, or hands on, of something named telemetry."""
    found = set()
    for path in modules("app"):
        if path.name != TELEMETRY.name and "telemetry" in text_of(path):
            found |= {n.attr for n in nodes(tree_of(path), ast.Attribute) if names_telemetry(n.value)}
    return found


def test_F113_every_metric_is_observed_somewhere() -> None:
    kept = vars(ProcessTelemetry())
    figures = {name for name, value in kept.items() if isinstance(value, Counter | Histogram)}
    assert len(figures) > 10
    known = called()
    used = set().union(*(attributes for name, attributes in takers().items() if name in known))
    assert sorted(figures - used) == []
