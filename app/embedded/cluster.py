"""Files of one PostgreSQL cluster. Creates and checks them, and reads which server uses them."""

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from app.domain.units.frozen import frozen
from app.embedded.host import SOCKET_DIR_PREFIX, EmbeddedPostgresError, Host

INITDB_S = 120
LOG_TAIL_LINES = 12
PID_FILE_LINES = 8
"""postmaster.pid: the pid first, the socket's folder fifth, the status last. Shorter while it starts."""


def server_environment() -> dict[str, str]:
    """Returns our environment without PostgreSQL's own variables, and with a neutral locale."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def make_ready(host: Host, settings: Mapping[str, str]) -> None:
    """Creates the cluster if it is missing. Refuses one that this PostgreSQL cannot open."""
    if not host.cluster.exists():
        _initialise(host, durable=settings.get("fsync") != "off")
        return
    try:
        found = (host.cluster / "PG_VERSION").read_text(encoding="ascii").strip()
    except OSError as error:
        raise EmbeddedPostgresError(
            f"Cannot read {error.filename}: {error.strerror}. Is the folder yours?"
        ) from error
    if found != host.major:
        raise EmbeddedPostgresError(
            f"The data in {host.cluster} was written by PostgreSQL {found}, but {host.major} is installed. "
            f"Move the folder away to start empty, or dump it with {found} and load it into {host.major}."
        )


def _initialise(host: Host, *, durable: bool) -> None:
    """Runs initdb beside the final folder, then moves it there. So an interrupted one is never taken for a cluster."""
    draft = host.home / "cluster.new"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    host.own(draft)
    options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-instructions"]
    options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", *([] if durable else ["--no-sync"])]
    done = subprocess.run(
        host.guarded([host.binaries / "initdb", "-D", draft, *options]),
        env=server_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=INITDB_S,
        check=False,
        start_new_session=True,  # Ctrl-C is ours to handle; we wait for initdb
    )
    if done.returncode:
        raise EmbeddedPostgresError(f"initdb failed in {host.home}:\n{_tail(done.stdout)}")
    _make_roles(host, draft)
    draft.rename(host.cluster)


OWNER, SERVICE = "tapwatt_owner", "tapwatt_service"
"""Who migrates, and who serves: the latter is bound by row level security."""
_ROLES = (
    f"CREATE ROLE {OWNER} LOGIN",
    f"CREATE ROLE {SERVICE} LOGIN",
    f"ALTER DATABASE postgres OWNER TO {OWNER}",
)


def _make_roles(host: Host, cluster: Path) -> None:
    """Makes the two users before the first start. In PostgreSQL's single-user mode, which reads lines."""
    orders = cluster / "roles.sql"
    orders.write_text("".join(f"{order}\n" for order in _ROLES), encoding="ascii")
    host.own(orders)
    script = 'exec "$0" --single -F -D "$1" postgres < "$2"'
    done = subprocess.run(
        host.guarded(["/bin/sh", "-c", script, host.binaries / "postgres", cluster, orders]),
        env=server_environment(),
        capture_output=True,
        text=True,
        timeout=INITDB_S,
        check=False,
        start_new_session=True,
    )
    orders.unlink()
    if done.returncode or "ERROR" in done.stderr:
        raise EmbeddedPostgresError(f"The users of {cluster} could not be made:\n{_tail(done.stderr)}")


@frozen
class PidFile:
    """What the server writes about itself. `socket_dir` is empty and `ready` false while it starts."""

    pid: int
    socket_dir: str
    ready: bool


def read_pid_file(host: Host) -> PidFile | None:
    """Reads the server's file in the cluster, whether it lives or not. None when unreadable."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = (host.cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        ready = len(lines) >= PID_FILE_LINES and lines[PID_FILE_LINES - 1].strip() == "ready"
        return PidFile(int(lines[0]), lines[4] if len(lines) >= PID_FILE_LINES else "", ready)
    return None


def answers(server: PidFile) -> bool:
    """Whether a process accepts connections at its socket."""
    with socket.socket(socket.AF_UNIX) as attempt, contextlib.suppress(OSError):
        attempt.settimeout(1)
        attempt.connect(f"{server.socket_dir}/.s.PGSQL.5432")
        return True
    return False


def is_alive(server: PidFile, host: Host) -> bool:
    """Whether its process runs, as far as is known. The pid may have been reused since."""
    stands_in = Path(f"/proc/{server.pid}/cwd")
    try:
        os.kill(server.pid, 0)
        # A server's working folder is its cluster; without /proc the pid alone must do.
        return not stands_in.is_symlink() or stands_in.readlink() == host.cluster.resolve()
    except PermissionError:
        return True
    except OSError:
        return False


def remove_stale(server: PidFile, host: Host) -> None:
    """Removes files of a killed server. PostgreSQL does not start when its old pid has been reused."""
    (host.cluster / "postmaster.pid").unlink(missing_ok=True)
    socket_dir = Path(server.socket_dir)
    if socket_dir.name.startswith(SOCKET_DIR_PREFIX):
        shutil.rmtree(socket_dir, ignore_errors=True)


def log_tail(host: Host) -> str:
    """Returns the end of the server's log."""
    with contextlib.suppress(OSError):
        return _tail(host.log.read_text(encoding="utf-8", errors="replace"))
    return f"(no log at {host.log})"


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-LOG_TAIL_LINES:])
