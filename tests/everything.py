"""All checks in order: `python -m tests.everything [PYTEST ARGS]`, in the checkout, with .venv's tools."""

import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

TOOLS = Path(sys.executable).parent


class Step(NamedTuple):
    """What a check is called and what runs for it, the output of each program feeding the next."""

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


def main(pytest_args: list[str]) -> int:
    """Every static step runs, also after a failure; pytest comes last, so its summary is what one sees."""
    failed = [step.name for step in STATIC_STEPS if not passes(step)]
    if failed:
        print(f"\nFailed so far, see above: {', '.join(failed)}. The tests follow.")
    print("== tests", flush=True)
    status = subprocess.call([sys.executable, "-m", "pytest", *pytest_args])
    return status or int(bool(failed))


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
