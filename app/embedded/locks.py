"""Locks files between processes; the system frees them when their holder exits."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from app.clock import monotonic_s
from app.embedded.host import EmbeddedPostgresError

WAIT_S = 60.0
"""Bound of every wait in seconds: for the server to start or stop, or for another process doing so."""
POLL_S = 0.02

ALONE, SHARED = fcntl.LOCK_EX, fcntl.LOCK_SH


def wait_until(done: Callable[[], bool], what: str) -> None:
    """Polls until `done`; raises EmbeddedPostgresError after WAIT_S, naming `what` did not happen."""
    give_up_at = monotonic_s() + WAIT_S
    while not done():
        if monotonic_s() > give_up_at:
            raise EmbeddedPostgresError(f"{what} did not happen within {WAIT_S:.0f} s.")
        time.sleep(POLL_S)


def open_lock(path: Path) -> int:
    """Opens a descriptor to lock; closing it releases the lock. Child processes do not inherit it."""
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def try_lock(descriptor: int, kind: int) -> bool:
    """Takes the lock at once or not at all."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def locked(path: Path, kind: int) -> Iterator[None]:
    """Holds the lock for the block, waiting for it at most WAIT_S."""
    descriptor = open_lock(path)
    try:
        wait_until(lambda: try_lock(descriptor, kind), f"The release of {path} by another process")
        yield
    finally:
        os.close(descriptor)
