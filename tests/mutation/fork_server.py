"""Runs pytest in forks of a process that has imported the libraries: half of a short run is their import.

A program, run in a copy of the checkout. It reads lines of JSON, `{"args": [...], "most_s": 60}`, and answers each
by a line: pytest's exit status, or `timeout`. It imports nothing of the checkout itself.
"""

import json
import os
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from resource import RLIMIT_CPU, setrlimit

LIBRARIES = (
    *("pytest", "hypothesis.strategies", "sqlalchemy.ext.asyncio", "asyncpg", "alembic.command", "msgspec"),
    *("cryptography.fernet", "structlog", "httpx", "fastapi", "prometheus_client"),
    *("schemathesis.pytest.plugin", "xdist.plugin"),
)
IDLE_FACTOR = 10
"""A busy machine gives a process a tenth of a core or less; a run that is only slow is no hung one."""
ALREADY_IMPORTED = ("-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning")


def serve() -> None:
    sys.path[0] = str(Path.cwd())  # in place of this file's folder
    for name in LIBRARIES:
        import_module(name)
    for line in sys.stdin:
        wanted = json.loads(line)
        print(run_in_fork([*ALREADY_IMPORTED, *wanted["args"]], wanted["most_s"]), flush=True)


def run_in_fork(args: list[str], most_s: float) -> int | str:
    """Returns the exit status, unless the fork uses more than `most_s` of a core, or hangs without using it."""
    child = os.fork()
    if child == 0:
        os._exit(run(args, int(most_s) + 1))
    ends_s = time.monotonic() + IDLE_FACTOR * most_s
    while time.monotonic() < ends_s:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return "timeout" if code == -signal.SIGXCPU else code
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


def run(args: list[str], most_s: int) -> int:
    import pytest

    os.setsid()
    setrlimit(RLIMIT_CPU, (most_s, most_s + 1))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    try:
        return int(pytest.main(args))
    except BaseException:
        return 3


if __name__ == "__main__":
    serve()
