"""Runs PostgreSQL with accepted user rights, and ends it when unused. It stands between Tapwatt and its embedded
PostgreSQL.

Run as a script by a bare interpreter, so standard library only: `python -I -S guard.py RUN_AS LOCK_FD SOCKET_DIR
COMMAND ...` (LOCK_FD -1: just run the command to its end).
"""

import ctypes
import fcntl
import shutil
import signal
import subprocess
import sys
import threading
from enum import StrEnum
from pathlib import Path
from types import FrameType

NOBODY_ID = 65534
CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1


class RunAs(StrEnum):
    """Whose rights PostgreSQL runs with; it refuses to run as root."""

    SAME_USER = "same-user"
    USER_NAMESPACE = "user-namespace"
    """We are root, PostgreSQL sees itself as nobody: a private user namespace, files stay root's."""
    NOBODY = "nobody"
    """We are root where namespaces are forbidden (some containers): truly nobody, with files of its own."""


def main(arguments: list[str]) -> int:
    """Runs the command to its end. With a lock, interrupts it (fast shutdown) once no other process holds it."""
    run_as, lock_fd, socket_dir, *command = arguments
    child = _start(RunAs(run_as), command)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _pass_on_to(child))
    if int(lock_fd) >= 0:
        threading.Thread(target=_interrupt_when_unused, args=(int(lock_fd), child), daemon=True).start()
    status = child.wait()
    if socket_dir:
        shutil.rmtree(socket_dir, ignore_errors=True)
    return status


def _start(run_as: RunAs, command: list[str]) -> "subprocess.Popen[bytes]":
    """Starts it as a child that ends when we do."""
    prepare = _enter_user_namespace if run_as is RunAs.USER_NAMESPACE else _die_with_parent
    account = NOBODY_ID if run_as is RunAs.NOBODY else None
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        cwd="/",
        preexec_fn=prepare,  # noqa: PLW1509  no thread runs yet
        user=account,
        group=account,
        extra_groups=None if account is None else [],
    )


def _enter_user_namespace() -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER):
        raise PermissionError(ctypes.get_errno(), "user namespaces are not allowed here")
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{NOBODY_ID} 0 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{NOBODY_ID} 0 1", encoding="ascii")
    _die_with_parent()  # last: a change of rights clears it


def _die_with_parent() -> None:
    if (
        sys.platform == "linux"
    ):  # elsewhere only a killed guard leaves PostgreSQL behind; the next start joins it
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def _interrupt_when_unused(lock_fd: int, child: "subprocess.Popen[bytes]") -> None:
    """Waits for the lock alone. Every process that uses the server holds it shared, and the system frees it on exit."""
    fcntl.flock(lock_fd, fcntl.LOCK_EX)
    child.send_signal(signal.SIGINT)


def _pass_on_to(child: "subprocess.Popen[bytes]") -> "signal._HANDLER":
    def handle(_number: int, _frame: FrameType | None) -> None:
        child.send_signal(signal.SIGINT)

    return handle


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
