"""Lists the mutants of a module: its source with one operator of mutmut applied to one node."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
from libcst.metadata import CodeRange, MetadataWrapper, PositionProvider
from mutmut.mutation import mutators

LEFT_OUT: frozenset[Callable[..., object]] = frozenset(
    {mutators.operator_string, mutators.operator_assignment, mutators.operator_lambda}
)
"""Other texts change messages; None in place of a value is what mypy refuses."""
OPERATORS = [(kind, operator) for kind, operator in mutators.mutation_operators if operator not in LEFT_OUT]
UNTOUCHED = (cst.Annotation, cst.Decorator, cst.Import, cst.ImportFrom)
LOOKED_PAST = ("log", "counter", "cast", "len", "isinstance")
"""Calls whose arguments no test should pin, or that mypy checks."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One way to mutate one node of a module: its path in the checkout, the lines of the node and of its function."""

    path: Path
    module: cst.Module
    node: cst.CSTNode
    mutated: cst.CSTNode
    lines: tuple[int, int]
    function: tuple[int, int] | None
    operator: str

    def source(self) -> str:
        """Returns the mutated source; made when it is needed, since it takes a while."""
        changed = self.module.deep_replace(self.node, self.mutated)
        assert isinstance(changed, cst.Module)
        return changed.code


class Collector(cst.CSTVisitor):
    """Collects every mutant of a module, in the order of the source."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, path: Path, module: cst.Module) -> None:
        super().__init__()
        self._path, self._module = path, module
        self._functions: list[cst.FunctionDef] = []
        self.mutants: list[Mutant] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, UNTOUCHED) or _is_looked_past(node):
            return False
        if isinstance(node, cst.FunctionDef):
            self._functions.append(node)
        function = self._lines(self._functions[-1].body) if self._functions else None
        for operator, mutated in _mutations(node, inside=function is not None):
            self.mutants.append(
                Mutant(self._path, self._module, node, mutated, self._lines(node), function, operator)
            )
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if self._functions and original_node is self._functions[-1]:
            self._functions.pop()

    def _lines(self, node: cst.CSTNode) -> tuple[int, int]:
        where = self.get_metadata(PositionProvider, node, None)
        return (where.start.line, where.end.line) if isinstance(where, CodeRange) else (0, 0)


def _is_looked_past(node: cst.CSTNode) -> bool:
    function = node.func if isinstance(node, cst.Call) else None
    while isinstance(function, cst.Attribute):
        function = function.value
    return isinstance(function, cst.Name) and function.value in LOOKED_PAST


def _mutations(node: cst.CSTNode, *, inside: bool) -> Iterator[tuple[str, cst.CSTNode]]:
    """Yields (operator, mutated node). A figure that is a module's constant is a choice: no test should repeat it."""
    for kind, operator in OPERATORS:
        if not isinstance(node, kind) or (operator is mutators.operator_number and not inside):
            continue
        for mutated in operator(node):
            if operator is not mutators.operator_arg_removal or _fewer_arguments(node, mutated):
                yield operator.__name__.removeprefix("operator_"), mutated


def _fewer_arguments(node: cst.CSTNode, mutated: cst.CSTNode) -> bool:
    return isinstance(node, cst.Call) and isinstance(mutated, cst.Call) and len(mutated.args) < len(node.args)


def mutants_of(root: Path, path: Path) -> list[Mutant]:
    """Returns every mutant of `root / path`; its path is relative to `root`."""
    wrapper = MetadataWrapper(cst.parse_module((root / path).read_text(encoding="utf-8")))
    collector = Collector(path, wrapper.module)
    wrapper.visit(collector)
    return collector.mutants
