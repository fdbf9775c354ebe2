"""The demo's child processes. Started on free ports, watched, logged to files, ended together."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from app.clock import monotonic_s
from app.demo.interrupts import DemoFailed, Interrupts
from app.domain.units.frozen import frozen

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds the package `app`."""
INSTALLED = {"site-packages", "dist-packages"}
TERMINATE_S = 5.0
"""Seconds a child may take to end by itself before it is killed."""
COMMAND_S = 60.0
TAIL_LINES = 15
PR_SET_PDEATHSIG = 1


def base_environment() -> dict[str, str]:
    """Returns our environment without any setting of Tapwatt. So the demo is the same on every machine."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("TAPWATT_")}
    if ROOT.name not in INSTALLED:
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH")]))
    return {**kept, "PYTHONUNBUFFERED": "1"}


def free_port() -> int:
    """Returns a port of 127.0.0.1 that is free just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def tail_of(log: Path) -> str:
    """Returns the last lines of a log, indented. Or a note that it is empty."""
    with contextlib.suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if lines:
            return "\n".join(f"    {line}" for line in lines[-TAIL_LINES:])
    return "    (its log is empty)"


@frozen
class Child:
    """A process that must live until the demo ends."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path


class Processes:
    """Runs `python -m app ...` with one environment. `folder` is the working folder, `logs` holds the logs."""

    def __init__(
        self, folder: Path, logs: Path, environment: Mapping[str, str], interrupts: Interrupts
    ) -> None:
        self._folder = folder
        self._logs = logs
        self._interrupts = interrupts
        self.environment = dict(environment)
        self.children: list[Child] = []

    def start(self, name: str, *arguments: str) -> Child:
        """Starts a child that keeps running."""
        log = self._logs / f"{name}.log"
        with self._interrupts.held(), log.open("wb") as output:
            child = Child(name, self._launch(arguments, output.fileno(), output.fileno()), log)
            self.children.append(child)
        return child

    def run_all(self, commands: Iterable[tuple[str, tuple[str, ...]]]) -> list[bytes]:
        """Runs commands in parallel, and returns what each printed. By name and arguments, to their end. Raises
        DemoFailed."""
        running: list[Child] = []
        try:
            for name, arguments in commands:
                log = self._logs / f"{name}.log"
                with self._interrupts.held(), log.open("wb") as errors:
                    process = self._launch(arguments, subprocess.PIPE, errors.fileno())
                    running.append(Child(name, process, log))
            return [self._finish(child) for child in running]
        finally:
            for child in running:
                child.process.kill()
                child.process.wait()

    def check(self) -> None:
        """Raises DemoFailed when a child has ended."""
        for child in self.children:
            status = child.process.poll()
            if status is not None:
                raise DemoFailed(f"The {child.name} {_how_it_ended(status)}.\n{tail_of(child.log)}")

    def end(self) -> None:
        """Asks all children to end, then kills the rest. Takes a little more than TERMINATE_S at most."""
        for child in reversed(self.children):
            child.process.terminate()
        deadline = monotonic_s() + TERMINATE_S
        for child in self.children:
            try:
                child.process.wait(max(0.0, deadline - monotonic_s()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
        self.children.clear()

    def _finish(self, child: Child) -> bytes:
        try:
            output, _ = child.process.communicate(timeout=COMMAND_S)
        except subprocess.TimeoutExpired:
            raise DemoFailed(f"`{child.name}` did not end within {COMMAND_S:.0f} s.") from None
        self.check()
        if child.process.returncode:
            how = _how_it_ended(child.process.returncode)
            raise DemoFailed(f"`{child.name}` {how}.\n{tail_of(child.log)}")
        return output

    def _launch(self, arguments: Iterable[str], output: int, errors: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "app", *arguments],
            cwd=self._folder,  # a .env file of the checkout does not apply to the demo
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,  # Ctrl-C is for the demo, which ends its children in order
            preexec_fn=die_with_parent,  # noqa: PLW1509  no thread runs yet
        )


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """Ends a child when its parent is killed (kill -9), on Linux. Runs in the child before its program."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _how_it_ended(status: int) -> str:
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended by itself with status {status}"
