"""Journal kinds: each is described, written somewhere, and its detail has the described keys."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from app.domain.session.states.journal import KINDS, JournalKind

APP = Path(__file__).resolve().parents[4] / "app"
ENUM_NAMES = {"JournalKind", "Kind"}


@cache
def notes() -> tuple[tuple[JournalKind, set[str], bool], ...]:
    """Kind and detail keys of each `change.note(...)` in the code; True: further keys are added by `**`."""
    return tuple(_found())


def _found() -> Iterator[tuple[JournalKind, set[str], bool]]:
    for path in sorted(APP.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match call:
                case ast.Call(
                    func=ast.Attribute(attr="note"),
                    args=[ast.Attribute(value=ast.Name(id=enum), attr=name), *_],
                    keywords=keywords,
                ) if enum in ENUM_NAMES:
                    keys = {k.arg for k in keywords if k.arg is not None}
                    yield JournalKind[name], keys, any(k.arg is None for k in keywords)


def described(kind: JournalKind) -> set[str]:
    return {key for key in KINDS[kind].detail.split(", ") if key}


def test_every_kind_is_described_in_the_order_of_the_enum() -> None:
    assert list(KINDS) == list(JournalKind)
    assert all(row.records.endswith(".") for row in KINDS.values())


def test_every_kind_is_written_by_some_line_of_the_code() -> None:
    assert {kind for kind, _, _ in notes()} == set(JournalKind)


def test_every_line_has_the_detail_that_the_reference_describes() -> None:
    for kind, keys, more in notes():
        assert keys <= described(kind) if more else keys == described(kind), kind
