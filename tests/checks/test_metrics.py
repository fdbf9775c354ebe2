"""Every exported metric is updated somewhere."""

import ast
from pathlib import Path

from prometheus_client import Counter, Histogram

from app.telemetry import ProcessTelemetry

APP = Path(__file__).resolve().parents[2] / "app"


def takers() -> dict[str, set[str]]:
    """The attributes that each method of ProcessTelemetry uses, beside its constructor."""
    tree = ast.parse((APP / "telemetry.py").read_text(encoding="utf-8"))
    (found,) = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "ProcessTelemetry"]
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
    for path in APP.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if path.name == "telemetry.py" or "telemetry" not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Attribute) and names_telemetry(node.value):
                found.add(node.attr)
    return found


def test_F113_every_metric_is_observed_somewhere() -> None:
    kept = vars(ProcessTelemetry())
    figures = {name for name, value in kept.items() if isinstance(value, Counter | Histogram)}
    assert len(figures) > 10
    used = set().union(*(attributes for name, attributes in takers().items() if name in called()))
    assert sorted(figures - used) == []
