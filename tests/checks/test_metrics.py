"""Every figure that a process exports is taken somewhere."""

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


def called() -> set[str]:
    """Every method that the code outside calls on something named telemetry."""
    found = set()
    for path in APP.rglob("*.py"):
        if path.name == "telemetry.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            method = node.func if isinstance(node, ast.Call) else None
            if isinstance(method, ast.Attribute) and "telemetry" in ast.unparse(method.value):
                found.add(method.attr)
    return found


def test_F113_every_metric_is_observed_somewhere() -> None:
    kept = vars(ProcessTelemetry())
    figures = {name for name, value in kept.items() if isinstance(value, Counter | Histogram)}
    assert len(figures) > 10
    used = set().union(*(attributes for name, attributes in takers().items() if name in called()))
    assert sorted(figures - used) == []
