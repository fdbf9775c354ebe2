"""Modules of the checkout, each parsed and walked once for all checks that run in one process."""

import ast
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

from tests.postgres import ROOT

N = TypeVar("N", bound=ast.AST)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def modules(folder: str) -> tuple[Path, ...]:
    """Every module below a folder of the checkout, sorted."""
    found = tuple(sorted((ROOT / folder).rglob("*.py")))
    assert found, f"there is no code in {folder}"
    return found


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path))


@cache
def _by_kind(tree: ast.Module) -> Mapping[type[ast.AST], list[ast.AST]]:
    found: dict[type[ast.AST], list[ast.AST]] = defaultdict(list)
    for node in ast.walk(tree):
        found[type(node)].append(node)
    return dict(found)


def nodes(tree: ast.Module, kind: type[N]) -> Sequence[N]:
    """Every node of exactly this kind, in `ast.walk`'s order."""
    return _by_kind(tree).get(kind, [])  # type: ignore[return-value]  # they are of the kind that they are kept under


def functions(tree: ast.Module) -> list[Function]:
    return [*nodes(tree, ast.FunctionDef), *nodes(tree, ast.AsyncFunctionDef)]
