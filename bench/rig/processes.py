"""Child processes of the bench: started, waited for, ended; with their CPU time and memory from /proc."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from app.demo.processes import die_with_parent, tail_of

READY_S = 180.0
"""Not a goal: other work may share the machine."""
TERMINATE_S = 20.0
POLL_S = 0.02
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class ChildFailed(Exception):
    """A child process ended or did not get ready; the message has the end of its log."""


def compiling(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which Python keeps what it has compiled: modules are loaded from bytecode, as in the image."""
    return {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}


@dataclass(slots=True)
class Process:
    """`python -m <module> ...` with its own log."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    child: "subprocess.Popen[bytes] | None" = field(default=None)

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        assert self.child is not None, f"{self.name} does not run"
        return self.child.pid

    def start(self, *, pipes: bool = False) -> None:
        """`pipes`: standard input and output are pipes, else the output goes to the log."""
        with self.log.open("ab") as output:
            out: int | IO[bytes] = subprocess.PIPE if pipes else output
            self.child = subprocess.Popen(
                [sys.executable, "-m", *self.command],
                cwd=self.folder,  # a .env file of the checkout does not apply here
                env=compiling(self.environment),
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=out,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509  no thread of ours holds a lock then
            )

    def wait_until(self, done: Callable[[], bool], within_s: float = READY_S) -> None:
        """Raises ChildFailed when it ends first, or when the time is over."""
        ends_at = time.monotonic() + within_s
        while not done():
            if self.child is None or self.child.poll() is not None:
                raise ChildFailed(f"{self.name} ended:\n{tail_of(self.log)}")
            if time.monotonic() > ends_at:
                raise ChildFailed(f"{self.name} is not ready after {within_s:.0f} s:\n{tail_of(self.log)}")
            time.sleep(POLL_S)

    def says(self, words: bytes) -> Callable[[], bool]:
        """Whether the log has these words in what was written from now on."""
        start = self.log.stat().st_size if self.log.exists() else 0

        def said() -> bool:
            with self.log.open("rb") as log:
                log.seek(start)
                return words in log.read()

        return said

    def stop(self) -> None:
        if self.child is None:
            return
        if self.child.stdin is not None:
            self.child.stdin.close()
        self.child.terminate()
        try:
            self.child.wait(TERMINATE_S)
        except subprocess.TimeoutExpired:
            self.child.send_signal(signal.SIGKILL)
            self.child.wait()
        self.child = None


def cpu_s(pid: int, *, with_children: bool = False) -> float:
    """CPU seconds of a process; 0 where there is no /proc. `with_children`: those that have ended, and those alive."""
    fields = _stat(pid)
    if not fields:
        return 0.0
    total = sum(int(ticks) for ticks in fields[11 : 15 if with_children else 13]) / TICKS
    if with_children:
        total += sum(cpu_s(child) for child in _children(pid))
    return total


def memory_mb(pid: int) -> float:
    """Resident memory in MB; 0 where there is no /proc."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0.0
    return int(pages) * PAGE_BYTES / 1e6


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on: user and system time are numbers 11 and 12."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return []


def _children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except OSError:
        return []
