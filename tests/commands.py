"""Runs Tapwatt's commands in the test's own process."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import typer.testing
from typer.main import get_command
from typer.testing import CliRunner, Result

from app.cli import every_command

# The tree of all commands is built once instead of for each call, which takes longer than most commands run.
typer.testing._get_command = cache(get_command)  # type: ignore[attr-defined]
APP = every_command()


def invoke(arguments: Sequence[str], *, env: Mapping[str, str] | None = None, **more: Any) -> Result:
    """Runs one command with these variables added to the environment."""
    return CliRunner().invoke(APP, [*arguments], env=env, **more)
