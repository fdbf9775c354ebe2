"""The tests themselves: no test module imports another, journeys name what they prove, no test asserts nothing,
folders with many database tests share one."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.checks.sources import Function, functions, modules, nodes, tree_of

TESTS = Path(__file__).parent.parent
ROOT = TESTS.parent
MODULES = modules("tests")
TEST_MODULES = [path for path in MODULES if path.name.startswith("test_")]
ASSERTING = frozenset({"raises", "warns", "fail"})
"""Functions of pytest that assert."""


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@cache
def module_at(name: str) -> Path | None:
    path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
    return path if path.exists() else None


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of everything that a module takes from others of ours."""
    tree = tree_of(path)
    for taken in nodes(tree, ast.ImportFrom):
        if taken.module is not None:
            yield from ((taken.module, each.name) for each in taken.names)
    for whole in nodes(tree, ast.Import):
        yield from ((each.name, "") for each in whole.names)


@cache
def functions_of(path: Path) -> dict[str, Function]:
    """Every function by name, methods too."""
    return {function.name: function for function in functions(tree_of(path))}


def asserts(path: Path, function: Function, seen: frozenset[str] = frozenset()) -> bool:
    """Whether it asserts, itself or by a function of the tests that it calls."""
    called = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            called.add(
                node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            )
    if called & ASSERTING:
        return True
    found = (helper_of(path, name) for name in called)
    return any(
        asserts(where, helper, seen | {key})
        for where, helper in filter(None, found)
        if (key := f"{where}:{helper.name}") not in seen
    )


def helper_of(path: Path, name: str) -> tuple[Path, Function] | None:
    """The function of this name, here or where it was imported from."""
    if name in functions_of(path):
        return path, functions_of(path)[name]
    for module, each in imported(path):
        where = module_at(module) if each == name and module.startswith("tests.") else None
        if where is not None and name in functions_of(where):
            return where, functions_of(where)[name]
    return None


def test_no_test_module_imports_another() -> None:
    names = {name_of(path) for path in TEST_MODULES}
    found = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in MODULES
        for module, name in imported(path)
        if names & {module, f"{module}.{name}"}
    ]
    assert not found, "what two test modules need belongs into a module of helpers"


BESIDE = ("bench", "checks", "entry", "journeys", "mutation", "processes", "supply_chain", "world")
"""Folders of tests that mirror no package."""


def named_modules(path: Path) -> list[str]:
    """What the first line of a test module names of app/."""
    first = (ast.get_docstring(tree_of(path)) or "").split("\n")[0]
    return [word.strip(",.:") for word in first.split() if word.startswith("app/")]


def in_app(name: str) -> bool:
    return (ROOT / name).is_dir() or (ROOT / name).with_suffix(".py").exists()


def test_tests_mirror_the_packages_or_name_what_they_are_of() -> None:
    mirroring = [path for path in TEST_MODULES if path.relative_to(TESTS).parts[0] not in BESIDE]
    assert len(mirroring) > 100, "the check sees them"
    for path in mirroring:
        mirrored = Path("app") / path.relative_to(TESTS).with_name(path.stem.removeprefix("test_"))
        named = named_modules(path)
        assert named or in_app(str(mirrored)), (
            f"{path.relative_to(ROOT)}: its first line names no module of app/"
        )
        assert all(map(in_app, named)), f"{path.relative_to(ROOT)}: {named}"


def test_every_journey_names_the_modules_that_it_proves() -> None:
    for path in sorted((TESTS / "journeys").glob("test_*.py")):
        named = named_modules(path)
        assert named, f"{path.name}: its first line names no module of app/"
        assert all(map(in_app, named)), f"{path.name}: {named}"


def test_every_test_asserts_something() -> None:
    """Where the point is that nothing is raised, the test asserts what is so afterwards."""
    silent = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in TEST_MODULES
        for name, function in functions_of(path).items()
        if name.startswith("test_") and not asserts(path, function)
    ]
    assert not silent, silent


@pytest.mark.parametrize("folder", ["api", "console", "flows", "journeys", "store"])
def test_folders_with_many_database_tests_share_one(folder: str) -> None:
    """Without these imports the tests still pass, with a new copy of the database for each: slower by minutes."""
    taken = set(imported(TESTS / folder / "conftest.py"))
    assert taken >= {("tests.shared_database", name) for name in ("database_url", "recycled")}
