"""app/cli: The command line as users see it: real processes, clear messages, exit statuses."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from app.cli import main
from app.cli.common import ExitStatus
from app.main import create_app
from app.store.db.database import Database
from tests.api.service import make_context
from tests.commands import invoke
from tests.conftest import PATIENCE_S
from tests.postgres import ROOT, TestCluster
from tests.virtual_clock import VirtualClock

KEY = "canary-Zk3vQ8mX1pL7rT5wB9nD2fH6jS4"
WAIT_S = 40
ADD = ["operator", "add", "--name", "Nordlade", "--client-id", "c", "--paying-team-id", "11"]
TARIFF = {
    "currency": "EUR",
    "elements": [{"price_components": [{"type": "ENERGY", "price": "0.49", "step_size": 1}]}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("canary-client-secret\n", encoding="utf-8")
    (tmp_path / "tariff.json").write_text(json.dumps(TARIFF), encoding="utf-8")
    wrong = {"currency": "EURO", "elements": [{"price_components": [{"type": "WATER", "price": -1}]}]}
    (tmp_path / "wrong.json").write_text(json.dumps(wrong), encoding="utf-8")
    over = TARIFF | {"end_date_time": "2020-01-01T00:00:00Z"}
    (tmp_path / "over.json").write_text(json.dumps(over), encoding="utf-8")
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    (tmp_path / "nul.json").write_text(json.dumps(TARIFF | {"x": "a\0"}), encoding="utf-8")
    return tmp_path


def environment(url: str | None, **more: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("TAPWATT_")}
    own = {"TAPWATT_DATABASE_URL": url} if url else {}
    return plain | {"TAPWATT_SECRET_KEY": KEY, "PYTHONPATH": str(ROOT), "COLUMNS": "200"} | own | more


def start(folder: Path, url: str | None, *arguments: str, **more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "app", *arguments],
        cwd=folder,
        env=environment(url, **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder: Path, url: str | None, *arguments: str, **more: str) -> tuple[int, str, str]:
    process = start(folder, url, *arguments, **more)
    out, err = process.communicate(timeout=WAIT_S)
    assert "Traceback" not in err, err
    assert "canary-client-secret" not in out + err
    assert KEY not in out + err
    return process.returncode, out, err


def security_lines(written: str) -> list[dict[str, str]]:
    lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("stream") == "security"]


def test_commands_that_change_something_are_recorded_without_values(
    database_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = [*ADD, "--monta-url", "http://localhost:9/api/v1", "--client-secret-file", "secret", "--json"]
    status, out, err = run(folder, database_url, *add)
    assert status == 0, err
    (line,) = security_lines(err)
    assert (line["event"], line["result"]) == ("command", "done")
    assert line["command"] == "operator add"
    assert "--paying-team-id" in line["options"].split()
    assert "Nordlade" not in err
    assert line["who"] == f"user {os.getuid()}"
    operator_id = json.loads(out)["operator_id"]
    change = ["operator", "set", "--hold-max", "5", "--operator"]
    found = run_here(monkeypatch, database_url, *change, operator_id)
    lines = security_lines(found.stderr)
    assert [(line["result"], line["ids"]) for line in lines] == [("done", operator_id)]
    found = run_here(monkeypatch, database_url, *change, "op_none")
    assert found.exit_code == 1
    assert [line["result"] for line in security_lines(found.stderr)] == ["failed"]
    found = run_here(monkeypatch, database_url, "operator", "list")
    assert (found.exit_code, security_lines(found.stderr)) == (0, [])


def run_here(monkeypatch: pytest.MonkeyPatch, url: str, *arguments: str) -> Result:
    """Runs a command in this process, as if it had been started with these arguments."""
    monkeypatch.setattr("sys.argv", ["tapwatt", *arguments])
    found = invoke(arguments, env=environment(url))
    assert "canary-client-secret" not in found.output
    assert KEY not in found.output
    return found


def test_setting_up_prints_one_object_for_each_command_and_the_key_opens_the_endpoint(
    database_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def facts(*arguments: str) -> dict[str, str]:
        done = run_here(monkeypatch, database_url, *arguments, "--json")
        assert done.exit_code == 0, done.output
        found: dict[str, str] = json.loads(done.stdout)
        return found

    monkeypatch.chdir(folder)
    monta = ["--monta-url", "http://localhost:9/api/v1", "--client-secret-file", "secret"]
    operator = facts(*ADD, *monta)
    assert set(operator) == {"operator_id", "webhook_path", "webhook_secret"}
    assert operator["webhook_path"].startswith("/v1/webhooks/monta/")
    of = ["--operator", operator["operator_id"]]
    terminal = facts("terminal", "add", *of, "--provider", "p", "--name", "n", "--charge-point", "101")
    assert set(terminal) == {"terminal_id", "api_key"}
    tariff = facts("tariff", "set", *of, "--file", "tariff.json")
    assert tariff["currency"] == "EUR"
    ops = facts("ops-key", "add")
    assert set(ops) == {"ops_key_id", "api_key"}
    changed = facts("operator", "change-webhook-secret", *of)
    assert set(changed) == {"operator_id", "webhook_secret", "previous_valid_until"}
    assert changed["webhook_secret"] != operator["webhook_secret"]
    assert facts("operator", "set", *of, "--price-unit", "minor")["price_unit"] == "minor"
    status, _, err = run(folder, database_url, *ADD, *monta, "--price-unit", "minor")
    assert (status, "warning: not compared with Monta" in err) == (0, True)

    with serving(folder, database_url, "--with-watcher") as (process, base):
        status, body = get(f"{base}/v1/charge-points", terminal["api_key"])
        assert (status, body["data"][0]["id"]) == (200, "101")
        status, body = get(f"{base}/v1/ops/summary", ops["api_key"])
        assert (status, body["operators"][0]["name"]) == (200, "Nordlade")
        assert_ends_with_a_long_poll_open(process, base, terminal["api_key"])


def assert_ends_with_a_long_poll_open(process: "subprocess.Popen[str]", base: str, key: str) -> None:
    """SIGTERM answers waiting callers and ends the process with status 0 within seconds."""
    held = {"reference": "A-1", "amount": 2000, "currency": "EUR"}
    payment = {"charge_point_id": "101", "authorization": held}
    status, session = post(f"{base}/v1/payment-sessions", key, payment)
    assert status == 201
    answers: list[int] = []
    url = f"{base}/v1/payment-sessions/{session['id']}?wait=30&version=999"
    poll = threading.Thread(target=lambda: answers.append(get(url, key)[0]))
    poll.start()
    time.sleep(0.5)
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, err
    assert time.monotonic() - begun < PATIENCE_S
    poll.join(WAIT_S)
    assert answers == [200]
    assert "Traceback" not in err, err
    assert KEY not in out + err
    assert key not in out + err


def test_what_is_wrong_on_the_command_line_is_named(
    database_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    secret = ["--client-secret-file", "secret"]
    monta = ["--monta-url", "https://monta.example/api/v1"]
    cases: list[tuple[list[str], int, list[str]]] = [
        ([*ADD, *secret, "--monta-url", "http://monta.example/api/v1"], 1, ["--monta-url", "https://"]),
        ([*ADD, *secret, "--monta-url", "https://[bad"], 1, ["--monta-url"]),
        ([*ADD, *secret, "--monta-url", "https://10.0.0.5/api/v1"], 1, ["--monta-url", "public address"]),
        ([*ADD, *monta, "--client-secret-file", "missing"], 1, ["--client-secret-file"]),
        ([*ADD, *monta], 2, ["--client-secret-file"]),
        ([*ADD[:-1], "none", *monta, *secret], 2, ["--paying-team-id"]),
        (["tariff", "set", "--operator", "op_none", "--file", "broken.json"], 1, ["--file", "JSON"]),
        (["tariff", "set", "--operator", "op_none", "--file", "nul.json"], 1, ["--file"]),
        (
            ["tariff", "set", "--operator", "op_none", "--file", "wrong.json"],
            1,
            ["currency", "elements[0].price_components[0].type", "elements[0].price_components[0].price"],
        ),
        (["tariff", "set", "--operator", "op_none", "--file", "tariff.json"], 1, ["op_none"]),
        (["tariff", "set", "--operator", "op_none", "--file", "over.json"], 1, ["ended at 2020-01-01"]),
        ([*ADD, *monta, *secret, "--price-unit", "cents"], 2, ["--price-unit"]),
        (["operator", "set", "--operator", "op_none"], 1, ["Nothing to set", "--help"]),
        (["operator", "set", "--operator", "op_none", "--price-unit", "minor"], 1, ["op_none"]),
        (["ops-key", "add", "--operator", "op_none"], 1, ["op_none"]),
        (
            ["terminal", "add", "--operator", "o", "--provider", "a b", "--name", "n", "--charge-point", "1"],
            1,
            ["--provider"],
        ),
        (
            ["terminal", "add", "--operator", "o", "--provider", "p", "--name", "n", "--charge-point", "x"],
            1,
            ["--charge-point"],
        ),
        (["session", "show", "ps_none"], 1, ["ps_none"]),
        (["serve", "--port", "70000"], 2, ["--port"]),
    ]
    for arguments, status, words in cases:
        found = invoke(arguments, env=environment(database_url) | {"TERM": "dumb"})
        assert found.exit_code == status, (arguments, found.output)
        told = f"{found.output} {found.exception}"
        for word in words:
            assert word in told, (arguments, told)
        assert "canary" not in told


def test_an_argument_that_is_not_utf_8_is_named_before_anything_is_asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["session", "show", "ps_\udcff"], ["sessions", "--id=\udcff"], ["serve", "\udcff"]):
        monkeypatch.setattr("sys.argv", ["tapwatt", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == ExitStatus.USAGE
        assert "is not UTF-8" in capsys.readouterr().err
    (folder / "\udcff.json").write_text("{}")
    monkeypatch.setattr("sys.argv", ["tapwatt", "evidence", "verify", str(folder / "\udcff.json")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == ExitStatus.FAILED, "a file may have any name"
    assert "is not UTF-8" not in capsys.readouterr().err


def test_what_is_not_known_is_one_message_and_status_one(database_url: str, folder: Path) -> None:
    status, out, err = run(folder, database_url, "ops-key", "add", "--operator", "op_none")
    assert (status, out) == (1, "")
    assert "op_none" in err


def test_wrong_settings_stop_every_command_with_all_problems(folder: Path) -> None:
    status, out, err = run(
        folder, "mysql://u:canary-password@h/db", "serve", TAPWATT_SECRET_KEY="short", TAPWATT_LEASE_S="x"
    )
    assert (status, out) == (1, "")
    for name in ("DATABASE_URL", "SECRET_KEY", "LEASE_S"):
        assert f"TAPWATT_{name}" in err
    assert "canary-password" not in err


def test_a_database_that_is_away_or_not_migrated_stops_the_start(cluster: TestCluster, folder: Path) -> None:
    with cluster.database() as bare:
        running = [start(folder, bare, command) for command in ("serve", "watch")]
        for process in running:
            _, err = process.communicate(timeout=WAIT_S)
            assert process.returncode == 1
            assert "tapwatt migrate" in err
            assert "Traceback" not in err, err
        status, out, err = run(folder, bare, "migrate")
        assert status == 0, err
        assert "up to date" in out
    status, _, err = run(folder, "postgresql://u:canary-password@localhost:1/db", "serve")
    assert status == 1
    assert "TAPWATT_DATABASE_URL" in err
    assert "canary-password" not in err


UNUSED = {
    *("alembic", "greenlet._greenlet", "jinja2", "pydantic.v1.main", "pygments.util", "rich.text"),
    *("app.cli.terminals", "app.simulator"),
}
"""What neither of the processes that run for weeks may load: it would stay in its memory. Modules inside of packages,
since Python also names a package whose import fails."""
UNUSED_BY_WATCHER = UNUSED | {
    *("app.api.http", "app.api.models", "app.api.routes", "app.api.schemas"),
    *("click.core", "fastapi", "pydantic", "smtplib", "typer.main", "uvicorn"),
}
UNUSED_BY_SERVICE = UNUSED | {"app.watcher", "app.flows.session.advance", "app.flows.events.send_events"}
"""Events for terminals have the views of `app.api`, and nothing else of it."""
IMPORT_LINE = re.compile(r"import time:[ \d|]+\| *([\w.]+)\n")


def loaded_until(process: "subprocess.Popen[str]", word: str) -> set[str]:
    """The modules that a process has loaded when it says `word`."""
    assert process.stderr is not None
    lines = list(takewhile(lambda line: word not in line, iter(process.stderr.readline, "")))
    loaded = {found[1] for line in lines if (found := IMPORT_LINE.fullmatch(line))}
    assert "app.processes" in loaded, lines[-5:]
    return loaded


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_watcher_ends_cleanly_when_it_is_asked_to(
    database_url: str, folder: Path, number: signal.Signals
) -> None:
    process = start(folder, database_url, "watch", PYTHONPROFILEIMPORTTIME="1")
    assert not loaded_until(process, "watcher_started") & UNUSED_BY_WATCHER
    begun = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, err
    assert "watcher_ended" in err
    assert time.monotonic() - begun < PATIENCE_S


@contextmanager
def serving(folder: Path, url: str, *arguments: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    process = start(folder, url, "serve", "--port", str(port), *arguments, PYTHONPROFILEIMPORTTIME="1")
    try:
        alone = "--with-watcher" not in arguments
        assert not loaded_until(process, "listening") & (UNUSED_BY_SERVICE if alone else UNUSED)
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


def test_a_service_alone_loads_nothing_of_the_watcher_and_builds_models_when_they_are_used(
    database_url: str, folder: Path
) -> None:
    built_at_once = create_app(make_context(Database(database_url), VirtualClock())).openapi()
    with serving(folder, database_url) as (process, base):
        assert get(f"{base}/openapi.json", "") == (200, built_at_once)
        process.terminate()
        _, loaded = process.communicate(timeout=WAIT_S)
        assert "pydantic.v1.main" not in loaded, "FastAPI looks for it when it builds a route"


def get(url: str, key: str) -> tuple[int, dict[str, Any]]:
    return _ask(urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"}))


def post(url: str, key: str, body: Mapping[str, object]) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    return _ask(urllib.request.Request(url, json.dumps(body).encode(), headers))


def _ask(request: urllib.request.Request) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_modules_load_with_little_garbage_collection_and_end_quietly_by_ctrl_c() -> None:
    """A formatter that sorts imports would move ours above both."""
    lines = (ROOT / "app" / "__main__.py").read_text(encoding="utf-8").splitlines()
    starts = (
        "signal.signal(signal.SIGINT, signal.SIG_DFL)",
        "gc.set_threshold(20_000",
        "from app.",
        "gc.freeze()",
        "gc.set_threshold(*usual",
    )
    places = [next(n for n, line in enumerate(lines) if line.startswith(start)) for start in starts]
    assert places == sorted(places)
