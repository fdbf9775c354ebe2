"""Sets the demo up by the command line. Database, simulator, service and watcher."""

import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import field
from pathlib import Path

import httpx

from app.clock import monotonic_s, utc_now
from app.demo.interrupts import DemoFailed, Interrupts
from app.demo.processes import Processes, base_environment, free_port
from app.demo.tariffs import GROUP_OF_POINT, GROUPS, ocpi_tariff
from app.domain.units.frozen import frozen
from app.embedded import EmbeddedPostgres, EmbeddedPostgresError
from app.simulator.server import about, default_config

READY_S = 45.0
POLL_S = 0.1
USUAL_GROUP = 25
"""Price group of the operator's default tariff. Charge points of other groups get their own."""

Command = tuple[str, str]
"""A command's name and its arguments; files are relative to the working folder."""


@frozen(kw_only=True)
class Installation:
    """The running demo; its keys are valid for this run only."""

    api_url: str
    monta_url: str
    client_id: str
    client_secret: str = field(repr=False)
    terminal_key: str = field(repr=False)
    ops_key: str = field(repr=False)
    processes: Processes


def provisioned(processes: Processes, folder: Path, ports: tuple[int, int], points: set[str]) -> Installation:
    """Runs the setup commands and waits until all works. `ports`: of the service and of the simulator."""
    monta = about(default_config(), f"http://127.0.0.1:{ports[1]}")
    _write_secret(folder / "client-secret", str(monta["client_secret"]))
    operator, ops = _run(
        processes, _operator_add(monta), ("ops-key-add", "ops-key add --json --all-operators")
    )
    usual, *tariffs = _tariff_commands(folder, operator["operator_id"], points)
    terminal, _ = _run(processes, _terminal_add(operator["operator_id"], points), usual)
    _run(processes, *tariffs)  # after the terminal, which registers its charge points
    installation = Installation(
        api_url=f"http://127.0.0.1:{ports[0]}",
        monta_url=str(monta["monta_url"]),
        client_id=str(monta["client_id"]),
        client_secret=str(monta["client_secret"]),
        terminal_key=terminal["api_key"],
        ops_key=ops["api_key"],
        processes=processes,
    )
    _wait_until_ready(installation)
    return installation


def _operator_add(monta: dict[str, str | int]) -> Command:
    account = f"--monta-url {monta['monta_url']} --client-id {monta['client_id']}"
    payer = f"--client-secret-file client-secret --paying-team-id {monta['paying_team_id']}"
    return "operator-add", f"operator add --json --name Demo {account} {payer}"


def _terminal_add(operator: str, points: set[str]) -> Command:
    chosen = " ".join(f"--charge-point {point}" for point in sorted(points))
    return "terminal-add", f"terminal add --json --operator {operator} --provider demo --name Demo {chosen}"


def _tariff_commands(folder: Path, operator: str, points: set[str]) -> Iterator[Command]:
    """The default tariff first, then those of single charge points."""
    for group in GROUPS.values():
        (folder / f"tariff-{group.id}.json").write_text(json.dumps(ocpi_tariff(group)), encoding="utf-8")
    common = f"tariff set --json --operator {operator} --file"
    yield "tariff-set", f"{common} tariff-{USUAL_GROUP}.json"
    for point in sorted(points):
        group_id = GROUP_OF_POINT[point]
        if group_id != USUAL_GROUP:
            yield f"tariff-set-{point}", f"{common} tariff-{group_id}.json --charge-point {point}"


def _run(processes: Processes, *commands: Command) -> list[dict[str, str]]:
    """Runs commands in parallel and returns the JSON that each printed."""
    outputs = processes.run_all((name, tuple(arguments.split())) for name, arguments in commands)
    return [json.loads(output) for output in outputs]


def _write_secret(file: Path, secret: str) -> None:
    file.touch(mode=0o600)
    file.write_text(secret, encoding="utf-8")


def _wait_until_ready(installation: Installation) -> None:
    _wait_for(installation, "/health/ready", "Tapwatt is not ready", lambda answer: answer.is_success)
    _wait_for(
        installation,
        "/v1/charge-points",
        "The watcher has not read the charge points from Monta",
        lambda answer: answer.is_success and all(point["max_power_w"] for point in answer.json()["data"]),
    )


def _wait_for(
    installation: Installation, path: str, problem: str, fits: Callable[[httpx.Response], bool]
) -> None:
    """Polls until GET gives a matching answer, READY_S at most. A child that ends stops the wait."""
    give_up_at = monotonic_s() + READY_S
    said = "nothing"
    headers = {"Authorization": f"Bearer {installation.terminal_key}"}
    with httpx.Client(timeout=5, trust_env=False, headers=headers) as http:
        while monotonic_s() < give_up_at:
            installation.processes.check()
            try:
                answer = http.get(installation.api_url + path)
                if fits(answer):
                    return
                said = f"{answer.status_code}: {answer.text[:300]}"
            except httpx.TransportError as error:
                said = type(error).__name__
            time.sleep(POLL_S)
    raise DemoFailed(f"{problem} after {READY_S:.0f} s: GET {path} says {said}")


THROW_AWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""The database lives for a minute: it need not survive a power failure."""
Say = Callable[[str], None]


def settings_of_the_demo(speed: float) -> dict[str, str]:
    """Returns durations in seconds of the demo's clock. The defaults, or longer where `speed` turns a real moment (a
    call, a busy machine) into more than they allow for. Longer ones are cut to the settings' bounds."""
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
def set_up(speed: float, interrupts: Interrupts, say: Say, *, points: set[str]) -> Iterator[Installation]:
    """Sets everything up for the block. Afterwards removes all of it, or after a failure all but the logs."""
    with _folder(interrupts) as folder, ExitStack() as stack:
        logs = folder / "logs"
        logs.mkdir()
        origin, api_port, monta_port = utc_now(), free_port(), free_port()
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
        processes.environment["TAPWATT_OWNER_DATABASE_URL"] = database.owner_url
        processes.environment["TAPWATT_DATABASE_URL"] = database.service_url
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
    """Makes a temporary folder, and removes it afterwards. Or TAPWATT_DATA_DIR/demo when that is set."""
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


def invitation(installation: Installation) -> str:
    """Returns example commands for a shell; the keys are valid until Ctrl-C."""
    tapwatt, monta = installation.api_url, installation.monta_url
    return f"""
Everything still runs, on the demo's fast clock, until Ctrl-C.

  console     {tapwatt}/console     sign in with {installation.ops_key}
  API         {tapwatt}/v1          pages: {tapwatt}/docs
  metrics     {tapwatt}/metrics     health: {tapwatt}/health/ready
  simulator   {monta}   (client id {installation.client_id}, secret {installation.client_secret})

A card is tapped at charge point 106, and what becomes of it:

  TERMINAL_KEY={installation.terminal_key}
  curl -sw '\\n' {tapwatt}/v1/payment-sessions -H "Authorization: Bearer $TERMINAL_KEY" \\
    -H 'Content-Type: application/json' -d \\
    '{{"charge_point_id":"106","authorization":{{"reference":"MINE-1","amount":4000,"currency":"EUR"}}}}'
  curl -sw '\\n' "{tapwatt}/v1/payment-sessions?reference=MINE-1" -H "Authorization: Bearer $TERMINAL_KEY"

The same as operations see it:

  OPS_KEY={installation.ops_key}
  curl -sw '\\n' {tapwatt}/v1/ops/payment-sessions -H "Authorization: Bearer $OPS_KEY"
  curl -sw '\\n' {tapwatt}/v1/ops/summary -H "Authorization: Bearer $OPS_KEY"
"""
