"""Runs Tapwatt's commands in the test's own process."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import structlog
import typer
import typer.testing
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner, Result

from app.cli import every_command
from tests.store.rows import SECRET_KEY

tree_of = cache(get_command)
# The tree of all commands is built once instead of for each call, which takes longer than most commands run.
typer.testing._get_command = tree_of  # type: ignore[attr-defined]
APP = every_command()


def invoke(arguments: Sequence[str], *, env: Mapping[str, str] | None = None, **more: Any) -> Result:
    """Runs one command with these variables added to the environment. Its logging ends with it."""
    before = structlog.get_config()
    try:
        return CliRunner().invoke(APP, [*arguments], env=env, **more)
    finally:
        structlog.configure(**before)


def leaves(command: Any, *names: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(command, TyperGroup):
        yield " ".join(names), command
        return
    for name, inner in command.commands.items():
        yield from leaves(inner, *names, name)


COMMANDS = dict(leaves(typer.main.get_command(APP)))


def settings_for(database_url: str, **more: str) -> dict[str, str]:
    return {"TAPWATT_DATABASE_URL": database_url, "TAPWATT_SECRET_KEY": SECRET_KEY, **more}
