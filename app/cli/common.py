"""Shared by all commands: the context, printing facts, failing."""

import asyncio
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from itertools import takewhile
from typing import Annotated, NoReturn, TypeVar

import typer

from app.domain.units.control_chars import visible
from app.domain.units.ids import OperatorId
from app.flows.context import Context
from app.security_log import Act, Result, write
from app.settings import KeyedSettings
from app.telemetry import configure_logging
from app.wiring import database_url, ready_context

T = TypeVar("T")
MAX_TEXT_CHARS = 200


class ExitStatus(IntEnum):
    """What a command's exit status says; docs/operations.md has it in words."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    FOUND = 3
    INTERRUPTED = 130


OperatorOption = Annotated[str, typer.Option("--operator", help="The operator's id, op_...")]
OptionalOperator = Annotated[
    str | None, typer.Option("--operator", help="The operator's id, as the argument.")
]
OperatorArgument = Annotated[
    str | None, typer.Argument(metavar="OPERATOR", help="The operator's id, op_...; or give --operator.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object; secrets are shown this once.")]


def with_context(settings: KeyedSettings, work: Callable[[Context], Awaitable[T]]) -> T:
    """Runs a command's work. The security log names every command that changes something, and its result."""
    configure_logging(level="warning", as_json=False)

    async def run(url: str) -> T:
        async with ready_context(settings, url) as context:
            return await work(context)

    with database_url(settings) as url, _recorded():
        return asyncio.run(run(url))


READING = frozenset(
    {
        "list",
        "show",
        "check",
        "evidence",
        "public-key",
        "sessions",
        "orphans",
        "outages",
        "reconcile",
        "charges",
        "doctor",
        "attention",
    }
)
"""Commands that change nothing; all others are in the security log."""
WORD = re.compile("[a-z][a-z-]*")
IDENTIFIER = re.compile(r"[a-z]{2,4}_[0-9a-z]{26}")


@contextmanager
def _recorded() -> Iterator[None]:
    command = [*takewhile(WORD.fullmatch, sys.argv[1:])]
    if not command or command[-1] in READING:
        yield
        return
    try:
        yield
    except BaseException:
        _record(command, Result.FAILED)
        raise
    _record(command, Result.DONE)


def _record(command: Sequence[str], result: Result) -> None:
    """Names the given options, and the values that are our identifiers. No other value."""
    given = sys.argv[1 + len(command) :]
    options = {word.partition("=")[0] for word in given if word.startswith("--")}
    ids = [word for word in given if IDENTIFIER.fullmatch(word)]
    configure_logging(level="info", as_json=True)
    write(
        Act.COMMAND,
        result,
        who=f"user {os.getuid()}",
        command=" ".join(command),
        options=" ".join(sorted(options)),
        ids=" ".join(ids) or None,
    )
    configure_logging(level="warning", as_json=False)


def style(text: str, colour: str) -> str:
    """Colours a text on a terminal. Unless NO_COLOR is set (no-color.org)."""
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return typer.style(text, fg=colour) if coloured else text


def print_facts(as_json: bool, **facts: str | None) -> None:
    say(json.dumps(facts) if as_json else "\n".join(f"{k}: {v}" for k, v in facts.items() if v is not None))


def say(text: str) -> None:
    """Prints text or JSON to standard output. Control characters of others' texts never reach a terminal."""
    typer.echo(visible(text))


def warn(messages: Iterable[str]) -> None:
    """Prints warnings to standard error, apart from the facts."""
    for message in messages:
        typer.echo(visible(f"warning: {message}"), err=True)


def the_operator(argument: str | None, option: str | None) -> OperatorId:
    """Returns a command's operator, named by argument or --operator."""
    return OperatorId(one_of("operator", argument, option))


def one_of(what: str, argument: str | None, option: str | None) -> str:
    """What a command is about, named once."""
    if (argument is None) == (option is None):
        fail(f"Name the {what} once: as the argument, or with --{what}. `tapwatt {what} list` shows all.")
    return argument or option or ""


def check_text(option: str, text: str) -> None:
    if not text.strip() or not text.isprintable() or len(text) > MAX_TEXT_CHARS:
        fail(f"{option} must be a text of {MAX_TEXT_CHARS} characters at most, and not empty.")


def fail(message: str, status: ExitStatus = ExitStatus.FAILED) -> NoReturn:
    typer.echo(visible(message), err=True)
    raise SystemExit(status)
