"""Setting the stage up as anybody does: operator, terminal, tariffs and keys, each by its command."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from app.demo.processes import Processes
from app.demo.tariffs import GROUP_OF_POINT, GROUPS, ocpi_tariff
from app.demo.trouble import DemoFailed
from app.simulator.server import about, default_config

READY_S = 45.0
POLL_S = 0.1
USUAL_GROUP = 25
"""The price group whose tariff is set for the operator as a whole; the other groups' points get their own."""

Command = tuple[str, str]
"""What to call it, and its arguments; files are named as they lie in the folder where it runs."""


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


def provisioned(processes: Processes, folder: Path, ports: tuple[int, int], points: set[str]) -> Stage:
    """Run the commands, wait until everything works; `ports`: of the service and of the simulator."""
    monta = about(default_config(), f"http://127.0.0.1:{ports[1]}")
    _write_secret(folder / "client-secret", str(monta["client_secret"]))
    operator, ops = _run(processes, _operator_add(monta), ("ops-key-add", "ops-key add --json"))
    usual, *tariffs = _tariff_commands(folder, operator["operator_id"], points)
    terminal, _ = _run(processes, _terminal_add(operator["operator_id"], points), usual)
    _run(processes, *tariffs)  # after the terminal: it makes its charge points known
    stage = Stage(
        api_url=f"http://127.0.0.1:{ports[0]}",
        monta_url=str(monta["monta_url"]),
        client_id=str(monta["client_id"]),
        client_secret=str(monta["client_secret"]),
        terminal_key=terminal["api_key"],
        ops_key=ops["api_key"],
        processes=processes,
    )
    _wait_until_ready(stage)
    return stage


def _operator_add(monta: dict[str, str | int]) -> Command:
    account = f"--monta-url {monta['monta_url']} --client-id {monta['client_id']}"
    payer = f"--client-secret-file client-secret --paying-team-id {monta['paying_team_id']}"
    return "operator-add", f"operator add --json --name Demo {account} {payer}"


def _terminal_add(operator: str, points: set[str]) -> Command:
    chosen = " ".join(f"--charge-point {point}" for point in sorted(points))
    return "terminal-add", f"terminal add --json --operator {operator} --provider demo --name Demo {chosen}"


def _tariff_commands(folder: Path, operator: str, points: set[str]) -> Iterator[Command]:
    """The usual tariff first, then those of single charge points."""
    for group in GROUPS.values():
        (folder / f"tariff-{group.id}.json").write_text(json.dumps(ocpi_tariff(group)), encoding="utf-8")
    common = f"tariff set --json --operator {operator} --file"
    yield "tariff-set", f"{common} tariff-{USUAL_GROUP}.json"
    for point in sorted(points):
        group_id = GROUP_OF_POINT[point]
        if group_id != USUAL_GROUP:
            yield f"tariff-set-{point}", f"{common} tariff-{group_id}.json --charge-point {point}"


def _run(processes: Processes, *commands: Command) -> list[dict[str, str]]:
    """Side by side; the JSON that each printed."""
    outputs = processes.run_all((name, tuple(arguments.split())) for name, arguments in commands)
    return [json.loads(output) for output in outputs]


def _write_secret(file: Path, secret: str) -> None:
    file.touch(mode=0o600)
    file.write_text(secret, encoding="utf-8")


def _wait_until_ready(stage: Stage) -> None:
    _wait_for(stage, "/health/ready", "Tapwatt is not ready", lambda answer: answer.is_success)
    _wait_for(
        stage,
        "/v1/charge-points",
        "The watcher has not read the charge points from Monta",
        lambda answer: answer.is_success and all(point["max_power_w"] for point in answer.json()["data"]),
    )


def _wait_for(stage: Stage, path: str, problem: str, fits: Callable[[httpx.Response], bool]) -> None:
    """Until GET answers something that fits, READY_S at most; a child that dies ends the wait."""
    give_up_at = time.monotonic() + READY_S
    said = "nothing"
    headers = {"Authorization": f"Bearer {stage.terminal_key}"}
    with httpx.Client(timeout=5, trust_env=False, headers=headers) as http:
        while time.monotonic() < give_up_at:
            stage.processes.check()
            try:
                answer = http.get(stage.api_url + path)
                if fits(answer):
                    return
                said = f"{answer.status_code}: {answer.text[:300]}"
            except httpx.TransportError as error:
                said = type(error).__name__
            time.sleep(POLL_S)
    raise DemoFailed(f"{problem} after {READY_S:.0f} s: GET {path} says {said}")
