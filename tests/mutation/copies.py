"""Copies of the checkout in which mutants are written and tests run; the checkout itself is never changed."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from tests.postgres import ROOT, SHARED_SERVER, TestCluster, new_server

COPIED = ("app", "tests", "migrations", "docs", "bench", "pyproject.toml", "run.py", "README.md")
FORK_SERVER = Path(__file__).with_name("fork_server.py")


class Copy:
    """A folder, and the process that runs pytest in it. `server`: the folder of a PostgreSQL that its runs share."""

    def __init__(self, folder: Path, server: Path | None = None) -> None:
        self.folder = folder
        # Containers often forbid bytecode files; each run would compile all modules anew.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        if server is not None:
            environment[SHARED_SERVER] = str(server)
        self._server = subprocess.Popen(
            [sys.executable, str(FORK_SERVER)],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.kill()
        self._server.communicate()

    def write(self, path: Path, source: str) -> None:
        """Writes a module and removes its bytecode, whose age and size may still fit."""
        module = self.folder / path
        module.write_text(source, encoding="utf-8")
        for compiled in module.parent.glob(f"__pycache__/{module.stem}.*.pyc"):
            compiled.unlink()

    def passes(self, tests: list[str], *options: str, most_s: float) -> bool:
        """Returns whether all tests pass; a file names them, since there may be thousands. Raises TimeoutError."""
        chosen = self.folder / "chosen-tests.txt"
        chosen.write_text("\n".join(tests), encoding="utf-8")
        args = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", *options, f"@{chosen}"]
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps({"args": args, "most_s": most_s}), file=self._server.stdin, flush=True)
        answer = self._server.stdout.readline().strip()
        if answer == "timeout":
            raise TimeoutError
        return int(answer) == 0


@contextmanager
def checkouts(count: int) -> Iterator[list[Copy]]:
    """Yields copies of the checkout, removed at the end. Their runs share a PostgreSQL: starting one takes longer
    than most runs."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tapwatt-mutants-")))
        for number in range(count):
            _copy_to(folder / str(number))
        cluster = TestCluster(stack.enter_context(new_server(folder / "server")).url)
        cluster.migrate_template()
        cluster.close()
        yield [stack.enter_context(Copy(folder / str(n), folder / "server")) for n in range(count)]


def _copy_to(folder: Path) -> None:
    folder.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
