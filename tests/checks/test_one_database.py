"""There is one way to the database: no second engine, no second address, no stale replica."""

import ast
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from app.settings import Settings
from tests.checks.sources import modules, nodes, tree_of
from tests.postgres import ROOT

OPENERS = {"create_async_engine", "create_engine", "create_pool", "connect"}
ALLOWED = {
    ("app/store/db/connect.py", "connect"),  # every connection
    ("app/store/db/database.py", "connect"),  # by the same, for the pool
    ("app/store/db/listener.py", "connect"),  # by the same
    ("migrations/engine.py", "connect"),  # by the same, for alembic
    ("migrations/engine.py", "create_async_engine"),
    ("app/store/db/roles.py", "connect"),  # by the same, as the owner who lets the service's user in
    ("app/embedded/cluster.py", "connect"),  # a socket: whether the embedded server answers
}


def openings() -> Iterator[tuple[str, str]]:
    for folder in ("app", "migrations"):
        for path in modules(folder):
            yield from ((str(path.relative_to(ROOT)), name) for name in _called(path))


def _called(path: Path) -> Iterator[str]:
    for node in nodes(tree_of(path), ast.Call):
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        if name in OPENERS and not _of_an_engine(function):
            yield name


def _of_an_engine(function: ast.expr) -> bool:
    return (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and function.value.id == "engine"
    )


def test_F82_nothing_else_opens_a_connection() -> None:
    assert set(openings()) == ALLOWED


def test_F82_there_is_one_setting_that_holds_an_address_of_a_database() -> None:
    """And one for the listener, which reads nothing: a way around a pooler (F112). The owner's is for migrations."""
    named = {each.name for each in fields(Settings) if "database" in each.name or "dsn" in each.name}
    assert named == {"database_url", "listen_database_url", "owner_database_url"}
