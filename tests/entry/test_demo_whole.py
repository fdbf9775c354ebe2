"""app/demo: The whole demo in a process of its own, fast: it adds up, and it leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.postgres import ROOT

SPEED = "240"
LONGEST_S = 150
POLL_S = 0.05


@contextmanager
def demo(folder: Path, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """The demo as a shell runs it, its temporary files in `folder`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TAPWATT_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "demo", "--speed", SPEED, *options],
        cwd=ROOT,
        env={**environment, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_until(process: "subprocess.Popen[str]", text: str) -> str:
    """What it printed up to the line that contains `text`."""
    assert process.stdout is not None
    lines = []
    for each in process.stdout:
        lines.append(each)
        if text in each:
            return "".join(lines)
    pytest.fail(f"no {text!r} in:\n{''.join(lines)}")


def processes_of(folder: Path) -> list[int]:
    """Processes whose working folder or arguments name the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder) in (entry / "environ").read_text(errors="replace"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def nothing_left(folder: Path) -> bool:
    """Soon: a database's guard goes a moment after the database."""
    give_up_at = time.monotonic() + 10
    while time.monotonic() < give_up_at:
        if not processes_of(folder) and not list(folder.iterdir()):
            return True
        time.sleep(POLL_S)
    return False


def test_all_sessions_of_the_demo_add_up_and_nothing_is_left(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        output, _ = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 0, output
    assert "All 8 sessions add up" in output
    money = re.findall(r"^\d{3} .{17} +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) +1 +ok", output, re.MULTILINE)
    assert len(money) == 8, output
    for authorized, captured, released, monta_price in money:
        assert int(float(authorized) * 100 + 0.5) == round(float(captured) * 100) + round(
            float(released) * 100
        )
        assert captured == monta_price
    assert "\x1b" not in output
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("moment", ["drivers tap"])
def test_ctrl_c_ends_everything_at_once(tmp_path: Path, moment: str) -> None:
    with demo(tmp_path) as process:
        read_until(process, moment)
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 130, output
    assert "nothing is left running" in output
    assert nothing_left(tmp_path)


def test_a_process_that_dies_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        read_until(process, "tables")
        give_up_at = time.monotonic() + 20
        while not _log_of_simulator(tmp_path) and time.monotonic() < give_up_at:
            time.sleep(POLL_S)
        simulator = next(pid for pid in processes_of(tmp_path) if "simulator" in _arguments(pid))
        os.kill(simulator, signal.SIGKILL)
        output, _ = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 1, output
    assert "The simulator was killed by SIGKILL" in output
    assert "listening" in output
    logs = re.search(r"The logs are in (\S+)", output)
    assert logs is not None
    assert {"migrate.log", "simulator.log"} <= {file.name for file in Path(logs[1]).iterdir()}
    assert [path.name for path in Path(logs[1]).parent.iterdir()] == ["logs"]
    assert not processes_of(tmp_path)


def _log_of_simulator(folder: Path) -> str:
    return "".join(log.read_text() for log in folder.glob("*/logs/simulator.log"))


def _arguments(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")[1:]
