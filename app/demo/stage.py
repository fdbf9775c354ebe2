"""The stage: a database of its own, Monta in a box, the service and the watcher, set up by the command line."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from app.demo.interrupts import Interrupts
from app.demo.processes import Processes, base_environment, free_port
from app.demo.provisioning import Stage, provisioned
from app.demo.trouble import DemoFailed
from app.embedded import EmbeddedPostgres, EmbeddedPostgresError

THROW_AWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""The database lives for a minute: it need not survive a power cut."""
Say = Callable[[str], None]


def settings_of_the_demo(speed: float) -> dict[str, str]:
    """Durations in seconds of the demo's clock: those of the contract, or longer where `speed` makes of a real
    moment (a call, a busy machine) more than they allow for. Longer ones are cut to what settings may be."""
    real = {
        "START_DEADLINE_S": (300, 4, 3600),
        "SEND_GUARD_S": (5, 1, 60),
        "LEASE_S": (30, 10, 600),
        "SILENCE_S": (60, 0.5, 3600),
        "STOP_RETRY_S": (10, 0.2, 600),
        "SETTLE_POLL_S": (10, 0.2, 600),
        "STOP_LATENCY_S": (15, 0.5, 600),
    }
    return {
        f"TAPWATT_{name}": str(min(most, max(usual, moment * speed)))
        for name, (usual, moment, most) in real.items()
    }


@contextmanager
def set_up(speed: float, interrupts: Interrupts, say: Say, *, points: set[str]) -> Iterator[Stage]:
    """The stage for as long as the block lasts; afterwards nothing is left, or after a failure only the logs."""
    with _folder(interrupts) as folder, ExitStack() as stack:
        logs = folder / "logs"
        logs.mkdir()
        origin, api_port, monta_port = datetime.now(UTC), free_port(), free_port()
        environment = base_environment() | settings_of_the_demo(speed)
        environment |= {
            "TAPWATT_SECRET_KEY": secrets.token_urlsafe(48),
            "TAPWATT_PUBLIC_URL": f"http://127.0.0.1:{api_port}",
            "TAPWATT_CLOCK_SPEED": str(speed),
            "TAPWATT_CLOCK_ORIGIN": origin.isoformat(),
            "TAPWATT_LOG_FORMAT": "text",
        }
        processes = Processes(folder, logs, environment, interrupts)
        stack.callback(processes.end)
        stack.callback(interrupts.ignore)
        say("Monta simulator")
        processes.start("simulator", "simulator", "--port", str(monta_port), "--speed", str(speed))
        say("PostgreSQL")
        database = _database(folder, interrupts, stack)
        # Children end before the database does: callbacks run in reverse order.
        stack.callback(processes.end)
        stack.callback(interrupts.ignore)
        processes.environment["TAPWATT_DATABASE_URL"] = database.url
        say("tables")
        processes.run_all([("migrate", ("migrate",))])
        say("HTTP service")
        processes.start("service", "serve", "--port", str(api_port))
        say("watcher")
        processes.start("watcher", "watch")
        say("operator, terminal, tariffs and keys")
        yield provisioned(processes, folder, (api_port, monta_port), points)


def _database(folder: Path, interrupts: Interrupts, stack: ExitStack) -> EmbeddedPostgres:
    database = EmbeddedPostgres(folder / "database", THROW_AWAY)

    def forget() -> None:
        with suppress(EmbeddedPostgresError, OSError):
            database.delete()

    try:
        with interrupts.held():
            stack.callback(forget)
            stack.enter_context(database)
    except EmbeddedPostgresError as error:
        raise DemoFailed(str(error)) from error
    return database


@contextmanager
def _folder(interrupts: Interrupts) -> Iterator[Path]:
    """A new folder in the temporary one, or in TAPWATT_DATA_DIR/demo when that is set; gone afterwards."""
    folder = _new_folder(os.environ.get("TAPWATT_DATA_DIR"))
    try:
        yield folder
    except DemoFailed as error:
        for path in folder.iterdir():
            if path.is_file():
                path.unlink()
        raise DemoFailed(f"{error}\nThe logs are in {folder / 'logs'}") from error
    except BaseException:
        interrupts.ignore()
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _new_folder(data_dir: str | None) -> Path:
    parent = Path(data_dir).absolute() / "demo" if data_dir else None
    try:
        if parent is not None:
            parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="tapwatt-demo-", dir=parent))
    except OSError as error:
        raise DemoFailed(
            f"No folder for the demo can be made in {parent or tempfile.gettempdir()}: {error.strerror}. "
            "Set TAPWATT_DATA_DIR to one that is yours."
        ) from error
