"""All checks in order: `python -m tests.everything [PYTEST ARGS]`, in the checkout, with .venv's tools."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple, Self

TOOLS = Path(sys.executable).parent


class Step(NamedTuple):
    """A check's name and its commands, the output of each program feeding the next."""

    name: str
    pipeline: list[list[str]]


def tool(name: str, *args: str) -> list[str]:
    return [str(TOOLS / name), *args]


SQUAWK = tool(
    "squawk",
    "--pg-version=18",
    "--exclude=prefer-text-field",  # alembic's own table
    "--exclude=prefer-bigint-over-int",  # counters and seconds; ids and amounts are bigint
    "--exclude=require-lock-timeout",  # migrations/env.py sets it for every migration
    "--exclude=require-statement-timeout",  # locks must not be waited for; a backfill may take its time
)

STATIC_STEPS = [
    Step("format", [tool("ruff", "format", "--check", ".")]),
    Step("lint", [tool("ruff", "check", ".")]),
    Step("types", [tool("mypy")]),
    Step("imports", [tool("lint-imports", "--no-logo")]),
    Step("migrations", [tool("alembic", "upgrade", "head", "--sql"), SQUAWK]),
]


NARROW = ("-k", "-m", "-n", "-s", "-p", "--lf", "--last-failed", "--sw", "--stepwise", "--pdb", "--trace")
"""Options that choose few tests, bring workers of their own, or need pytest's own process."""


def main(pytest_args: list[str]) -> int:
    """Runs every static step, also after a failure; pytest runs beside them and is shown last, so that its summary
    ends the output."""
    with Tests(pytest_args) as tests:
        failed = [step.name for step in STATIC_STEPS if not passes(step)]
        if failed:
            print(f"\nFailed so far, see above: {', '.join(failed)}. The tests follow.")
        print("== tests", flush=True)
        status = tests.show()
    return status or int(bool(failed))


def in_parallel(args: list[str]) -> list[str]:
    """What has pytest use every core: only for the whole suite, since starting the workers takes seconds, and a
    debugger or a plain print wants pytest's own process. One more worker than cores: some tests wait in real time."""
    options = [arg for arg in args if arg.startswith("-")]
    if len(options) < len(args) or any(option.startswith(NARROW) for option in options):
        return []
    return ["-n", str(cores() + 1), "--dist", "worksteal"]


def cores() -> int:
    """The cores that this process may use."""
    usable = getattr(os, "sched_getaffinity", None)  # absent on macOS
    return len(usable(0)) if usable else os.cpu_count() or 1


class Tests:
    """pytest in a process of its own; what it says is kept until it is to be shown."""

    __test__ = False

    def __init__(self, args: list[str]) -> None:
        colour = ["--color=yes"] if sys.stdout.isatty() else []
        command = [sys.executable, "-m", "pytest", *colour, *in_parallel(args), *args]
        # Containers often forbid bytecode files; making every worker compile all tests anew takes seconds.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
        )
        self._said: SimpleQueue[bytes] = SimpleQueue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        while some := os.read(self._process.stdout.fileno(), 65536):
            self._said.put(some)
        self._said.put(b"")

    def show(self) -> int:
        """Everything that was said so far, then the rest as it comes; pytest's exit status."""
        while some := self._said.get():
            sys.stdout.buffer.write(some)
            sys.stdout.buffer.flush()
        return self._process.wait()


def passes(step: Step) -> bool:
    """Run one step, say how it went and how long it took, and what its programs said if it failed."""
    started, status, fed, said = time.monotonic(), 0, "", ""
    for command in step.pipeline:
        status, fed, said = run(command, fed)
        if status:
            break
    print(
        f"== {step.name:<11} {'FAILED' if status else 'ok':<7} {time.monotonic() - started:5.1f} s",
        flush=True,
    )
    if status:
        print(said, flush=True)
    return status == 0


def run(command: list[str], fed: str) -> tuple[int, str, str]:
    """Status, standard output for the next program, and all that was said; an absent program has failed."""
    try:
        done = subprocess.run(command, input=fed, capture_output=True, encoding="utf-8", check=False)
    except OSError as error:
        return 127, "", str(error)
    return done.returncode, done.stdout, f"{done.stdout}\n{done.stderr}".strip()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
