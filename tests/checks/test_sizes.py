"""Files, functions and first sentences stay short enough to be read at one go."""

import ast
import re
from collections import Counter
from collections.abc import Iterator

from tests.checks.sources import Function, functions, modules, nodes, text_of, tree_of
from tests.postgres import ROOT

FILE_LINES = 400
FUNCTION_LINES = 40
FOLDER_MODULES = 15
SENTENCE_WORDS = 16
"""Of a docstring's first sentence; about ten is the aim."""


def long_files() -> Iterator[str]:
    for path in modules("app"):
        lines = len(text_of(path).splitlines())
        if lines > FILE_LINES:
            yield f"{path.relative_to(ROOT)} has {lines} lines; split it by what it is about"


def long_functions(tree: ast.Module, name: str) -> Iterator[str]:
    for function in functions(tree):
        lines = body_lines(function)
        if lines > FUNCTION_LINES:
            yield f"{name}:{function.lineno} {function.name} has {lines} lines without its docstring"


def body_lines(function: Function) -> int:
    first = function.body[0]
    described = ast.get_docstring(function, clean=False) is not None
    docstring = (first.end_lineno or first.lineno) - first.lineno + 1 if described else 0
    return (function.end_lineno or function.lineno) - function.lineno + 1 - docstring


def test_no_file_is_longer_than_400_lines() -> None:
    found = list(long_files())
    assert not found, "\n".join(["", *found])


def test_no_folder_has_more_than_15_modules() -> None:
    folders = Counter(path.parent for path in modules("app") if path.name != "__init__.py")
    found = [
        f"{folder.relative_to(ROOT)} has {count} modules"
        for folder, count in folders.items()
        if count > FOLDER_MODULES
    ]
    assert not found, "\n".join(["", *found])


def test_no_function_is_longer_than_40_lines() -> None:
    found = [
        complaint
        for path in modules("app")
        for complaint in long_functions(tree_of(path), str(path.relative_to(ROOT)))
    ]
    assert not found, "\n".join(["", *found])


def test_a_docstring_does_not_count_but_every_other_line_does() -> None:
    docstring = '    """First.\n\n    Second.\n    """\n'
    body = "    x = 1\n" * (FUNCTION_LINES - 1)
    assert list(long_functions(ast.parse(f"def f():\n{docstring}{body}"), "m.py")) == []
    assert list(long_functions(ast.parse(f"def f():\n{docstring}{body}    x = 2\n"), "m.py")) == [
        "m.py:1 f has 41 lines without its docstring"
    ]


def first_sentences(tree: ast.Module) -> Iterator[str]:
    """The first sentence of each docstring; a semicolon ends one, too."""
    for node in (tree, *nodes(tree, ast.ClassDef), *functions(tree)):
        docstring = " ".join((ast.get_docstring(node) or "").split())
        yield re.split(r"[.;](?: |$)", docstring)[0]


def long_sentences(tree: ast.Module, name: str) -> Iterator[str]:
    for sentence in first_sentences(tree):
        words = len(sentence.split())
        if words > SENTENCE_WORDS:
            yield f"{name}: {words} words; say in about ten what it does, details after that: {sentence!r}"


def test_the_first_sentence_of_a_docstring_is_short() -> None:
    found = [
        complaint
        for path in modules("app")
        for complaint in long_sentences(tree_of(path), str(path.relative_to(ROOT)))
    ]
    assert not found, "\n".join(["", *found])


def test_only_the_first_sentence_is_counted() -> None:
    words = " ".join(["word"] * SENTENCE_WORDS)
    assert list(long_sentences(ast.parse(f'def f():\n    """{words}. {words} more."""\n'), "m.py")) == []
    assert len(list(long_sentences(ast.parse(f'class C:\n    """{words} more; less."""\n'), "m.py"))) == 1
