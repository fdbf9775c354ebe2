"""The stage: a database of its own, Monta in a box, the service and the watcher, set up by the command line."""

import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx

from app.demo.interrupts import Interrupts
from app.demo.processes import Processes, base_environment, free_port
from app.demo.tariffs import GROUP_OF_POINT, GROUPS, ocpi_tariff
from app.demo.trouble import DemoFailed
from app.embedded import EmbeddedPostgres, EmbeddedPostgresError
from app.simulator.server import about, default_config

THROW_AWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""The database lives for a minute: it need not survive a power cut."""
READY_S = 45.0
POLL_S = 0.1
PROVIDER = "tapwatt-demo"
USUAL_GROUP = 25
"""The price group whose tariff is set for the operator as a whole; the other groups' points get their own."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything runs; keys are secrets of this run alone."""

    api_url: str
    monta_url: str
    client_id: str
    client_secret: str = field(repr=False)
    terminal_key: str = field(repr=False)
    ops_key: str = field(repr=False)
    processes: Processes


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
def set_up(speed: float, interrupts: Interrupts, say: Say, *, all_points: set[str]) -> Iterator[Stage]:
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
        say("operator, terminal, tariffs, keys")
        yield _provisioned(processes, folder, (api_port, monta_port), all_points)


def wait_for(
    processes: Processes, url: str, what: str, fits: Callable[[httpx.Response], bool], key: str = ""
) -> None:
    """Until GET `url` answers something that fits, READY_S at most; a child that dies ends the wait."""
    give_up_at = time.monotonic() + READY_S
    said = "no answer"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(timeout=5, trust_env=False, headers=headers) as http:
        while time.monotonic() < give_up_at:
            processes.check()
            try:
                answer = http.get(url)
                if fits(answer):
                    return
                said = f"{answer.status_code}: {answer.text[:300]}"
            except httpx.TransportError as error:
                said = type(error).__name__
            time.sleep(POLL_S)
    raise DemoFailed(f"{what} after {READY_S:.0f} s. GET {url} says {said}")


def _provisioned(processes: Processes, folder: Path, ports: tuple[int, int], points: set[str]) -> Stage:
    """What somebody who begins with Tapwatt does, with the same commands."""
    api_url, monta = f"http://127.0.0.1:{ports[0]}", about(default_config(), f"http://127.0.0.1:{ports[1]}")
    secret = folder / "client-secret"
    secret.touch(mode=0o600)
    secret.write_text(str(monta["client_secret"]), encoding="utf-8")
    operator = _answer(
        processes.run_all(
            [
                (
                    "operator-add",
                    (
                        *(
                            "operator",
                            "add",
                            "--json",
                            "--name",
                            "Monta in a box",
                            "--monta-url",
                            str(monta["monta_url"]),
                        ),
                        *("--client-id", str(monta["client_id"]), "--client-secret-file", str(secret)),
                        *("--paying-team-id", str(monta["paying_team_id"])),
                    ),
                )
            ]
        )[0]
    )["operator_id"]
    chosen = [part for point in sorted(points) for part in ("--charge-point", point)]
    terminal, ops = processes.run_all(
        [
            (
                "terminal-add",
                (
                    "terminal",
                    "add",
                    "--json",
                    "--operator",
                    operator,
                    "--provider",
                    PROVIDER,
                    "--name",
                    "Demo",
                    *chosen,
                ),
            ),
            ("ops-key-add", ("ops-key", "add", "--json")),
        ]
    )
    processes.run_all(_tariff_commands(folder, operator, points))
    stage = Stage(
        api_url=api_url,
        monta_url=str(monta["monta_url"]),
        client_id=str(monta["client_id"]),
        client_secret=str(monta["client_secret"]),
        terminal_key=_answer(terminal)["api_key"],
        ops_key=_answer(ops)["api_key"],
        processes=processes,
    )
    wait_for(processes, f"{api_url}/health/ready", "Tapwatt is not ready", lambda a: a.status_code == 200)
    wait_for(
        processes,
        f"{api_url}/v1/charge-points",
        "The watcher has not read the charge points from Monta",
        lambda a: a.status_code == 200 and all(point["max_power_w"] for point in a.json()["data"]),
        stage.terminal_key,
    )
    return stage


def _tariff_commands(folder: Path, operator: str, points: set[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for group in GROUPS.values():
        file = folder / f"tariff-{group.id}.json"
        file.write_text(json.dumps(ocpi_tariff(group)), encoding="utf-8")
        common = ("tariff", "set", "--json", "--operator", operator, "--file", str(file))
        if group.id == USUAL_GROUP:
            yield f"tariff-set-{group.id}", common
            continue
        for point in sorted(points):
            if GROUP_OF_POINT[point] == group.id:
                yield f"tariff-set-{point}", (*common, "--charge-point", point)


def _answer(output: bytes) -> dict[str, str]:
    answer: dict[str, str] = json.loads(output)
    return answer


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
