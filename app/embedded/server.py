"""One embedded PostgreSQL for a data folder. Started by its first user, shared by all, ended by its last."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from app.embedded.cluster import (
    OWNER,
    SERVICE,
    answers,
    is_alive,
    log_tail,
    make_ready,
    read_pid_file,
    remove_stale,
    server_environment,
)
from app.embedded.host import EmbeddedPostgresError, Host, find_host, make_socket_dir
from app.embedded.locks import ALONE, SHARED, locked, open_lock, try_lock, wait_until


class EmbeddedPostgres:
    """The server of one data folder. Processes that name the same folder share it, each holding a lock.

    `settings` are postgresql.conf parameters; those of the process that starts the server count. Blocks: about two
    seconds at the very first start, 0.3 s later. Raises EmbeddedPostgresError.
    """

    def __init__(self, data_dir: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.settings = dict(settings or {})
        self._in_use: int | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._socket_dir = ""

    @property
    def url(self) -> str:
        """`postgresql://postgres@/postgres?host=<folder of the socket>`: the superuser."""
        return self._url("postgres")

    @property
    def owner_url(self) -> str:
        """The same for migrations."""
        return self._url(OWNER)

    @property
    def service_url(self) -> str:
        """The same for everything else."""
        return self._url(SERVICE)

    def _url(self, user: str) -> str:
        if self._in_use is None:
            raise EmbeddedPostgresError("The embedded PostgreSQL is not started.")
        return f"postgresql://{user}@/postgres?host={self._socket_dir}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Starts the server, or joins the running one. Returns when it accepts connections."""
        if self._in_use is not None:
            return self
        host = find_host(self.data_dir)
        with locked(self.data_dir / "start.lock", ALONE):
            descriptor = open_lock(self._lock)
            try:
                wait_until(lambda: try_lock(descriptor, SHARED), "The end of the server's shutdown")
                self._socket_dir = _running(host) or self._launch(host)
            except BaseException:
                os.close(descriptor)
                raise
            self._in_use = descriptor
        return self

    def stop(self) -> None:
        """Releases the server. When this object started it and no other process uses it, waits for its end."""
        if self._in_use is None:
            return
        os.close(self._in_use)
        self._in_use = None
        with contextlib.suppress(EmbeddedPostgresError):  # slow to stop: the guard ends it without us
            wait_until(lambda: self._is_down() or self._others_use_it(), "The server's shutdown")

    def delete(self) -> None:
        """Removes the stopped server's files. Wherever this machine keeps them: for demos and tests."""
        shutil.rmtree(find_host(self.data_dir).home)

    @property
    def _lock(self) -> Path:
        """Lock held shared by every user. The guard ends the server when it gets it alone."""
        return self.data_dir / "in-use.lock"

    def _is_down(self) -> bool:
        return self._guard is None or self._guard.poll() is not None

    def _others_use_it(self) -> bool:
        """Whether other processes use the server. Checks twice: a guard that exits between the two parts of one check
        looks like another user."""
        return self._searches_used() and self._searches_used()

    def _searches_used(self) -> bool:
        descriptor = open_lock(self._lock)
        try:
            return not try_lock(descriptor, ALONE) and try_lock(descriptor, SHARED)
        finally:
            os.close(descriptor)

    def _launch(self, host: Host) -> str:
        """Starts the server under its guard; returns the folder of its socket."""
        if self._guard is not None:
            self._guard.wait()  # it had released the lock; only its exit was left
        make_ready(host, self.settings)
        socket_dir, guards_lock = make_socket_dir(host), open_lock(self._lock)
        options = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        command: list[str | Path] = [
            host.binaries / "postgres",
            "-D",
            host.cluster,
            "-h",
            "",
            "-k",
            socket_dir,
            *options,
        ]
        with host.log.open("wb") as log:
            self._guard = subprocess.Popen(
                host.guarded(command, lock_fd=guards_lock, socket_dir=socket_dir),
                env=server_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[guards_lock],
                start_new_session=True,  # Ctrl-C is for Tapwatt, which then releases the server
            )
        os.close(guards_lock)
        wait_until(
            lambda: self._is_down() or _is_ready(host, socket_dir), f"The start of PostgreSQL ({host.log})"
        )
        if self._is_down():
            raise EmbeddedPostgresError(f"PostgreSQL did not start:\n{log_tail(host)}")
        return socket_dir


def _is_ready(host: Host, socket_dir: str) -> bool:
    server = read_pid_file(host)
    return server is not None and server.ready and server.socket_dir == socket_dir


def _running(host: Host) -> str:
    """Returns the socket's folder of a server that serves this cluster. Or an empty string. Bounded by WAIT_S.

    A server is found while it starts or stops only when its guard or its starter was killed.
    """
    sockets: list[str] = []

    def settled() -> bool:
        server = read_pid_file(host)
        if server is None:
            return True
        if server.ready and answers(server):
            sockets.append(server.socket_dir)
            return True
        if is_alive(server, host):
            return False
        remove_stale(server, host)
        return True

    wait_until(settled, f"The start or the end of the PostgreSQL process that holds {host.cluster}")
    return sockets[0] if sockets else ""
