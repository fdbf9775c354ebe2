"""app/cli: what every command has in common, found by walking the tree of commands; and how sessions are shown."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from app.cli.common import ExitStatus
from app.cli.output.chart import HEIGHT, chart_lines
from app.cli.output.live import LiveSessions
from app.domain.session.payment_session import Status, Stop, StopReason
from app.domain.session.states.journal import JournalKind
from app.domain.units.ids import SessionId
from app.store.sessions.journal import JournalEntry
from tests.commands import COMMANDS, invoke, settings_for
from tests.conftest import PATIENCE_S
from tests.domain.sessions import POLICY
from tests.postgres import ROOT, run_as_owner
from tests.store.rows import NOW, a_session, change, provisioned, record, settled, with_charge

RUN_ON = {"migrate", "serve", "watch", "simulator", "demo"}
"""Commands that run processes and show nothing of what is stored."""
LISTS = ("operator list", "terminal list", "ops-key list", "sessions", "orphans", "attention")


async def with_sessions(database_url: str) -> None:
    """One session that runs, and one that is settled."""
    async with provisioned(database_url) as database:
        running = a_session(name="r")
        assert await record(database, running)
        await change(database, running, with_charge(running, "6891", 2091))
        ended = a_session(name="e", charge_point="102")
        assert await record(database, ended)
        await change(database, ended, settled(ended, 500))


def run(database_url: str, *command: str, **more: str) -> Result:
    return invoke(command, env=settings_for(database_url, **more))


def test_every_command_that_shows_something_takes_json() -> None:
    without = {name for name, command in COMMANDS.items() if "--json" not in options(command)}
    assert without == RUN_ON
    assert COMMANDS.keys() >= {*LISTS, "session show", "reconcile", "doctor"}


def options(command: Any) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


def test_what_lists_prints_is_json_when_asked_for_and_fits_80_columns_otherwise(database_url: str) -> None:
    asyncio.run(with_sessions(database_url))
    for name in LISTS:
        asked = run(database_url, *name.split(), "--json")
        assert asked.exit_code == 0, asked.output
        assert isinstance(json.loads(asked.stdout), dict | list), name
        shown = run(database_url, *name.split(), COLUMNS="80")
        assert shown.exit_code == 0, shown.output
        assert "\x1b" not in shown.stdout, "no colours where nobody sees them"
        too_long = [line for line in shown.stdout.splitlines() if len(line) > 80 and " " in line.strip()]
        assert not too_long, name
    everything = run(database_url, "sessions", COLUMNS="80").stdout
    for session in json.loads(run(database_url, "sessions", "--json").stdout)["data"]:
        assert session["id"] in everything, "whole, so that it can be copied"
        one = json.loads(run(database_url, "session", "show", session["id"], "--json").stdout)
        assert one["session"] == session
        assert one["journal"][0]["kind"] == "payment_authorized"


async def with_troubles(database_url: str) -> None:
    """A charge that was told to stop long ago under a hold that has expired; a line of its journal was changed."""
    async with provisioned(database_url) as database:
        long_ago = NOW - timedelta(days=3650)
        session = a_session(name="t", at=long_ago)
        held = replace(session.authorization, expires_at=long_ago + timedelta(hours=1))
        session = replace(session, authorization=held)
        assert await record(database, session)
        stop = Stop(reason=StopReason.LIMIT_REACHED, decided_at=long_ago, attempts=4)
        charging = with_charge(session, "6891", 2091)
        await change(database, session, replace(charging, status=Status.STOPPING, stop=stop))
    await run_as_owner(
        database_url,
        "ALTER TABLE journal DISABLE TRIGGER append_only",
        "UPDATE journal SET source = 'nobody' WHERE session_id = 'ps_t'",
        "ALTER TABLE journal ENABLE TRIGGER append_only",
    )


def test_a_session_is_shown_with_what_is_wrong_and_what_to_do_as_at_the_console(database_url: str) -> None:
    asyncio.run(with_troubles(database_url))
    shown = run(database_url, "session", "show", "ps_t", COLUMNS="60").stdout
    said = " ".join(shown.split())
    for words in (
        "critical: The journal was changed: line 1 or its hash was changed Trust no line of it.",
        "critical: The stop is not confirmed: decided",
        "4 calls Stop it in Monta's portal",
        "critical: The hold has expired: valid until",
    ):
        assert words in said, shown
    assert max(len(line) for line in shown.splitlines()) <= 60
    troubles = json.loads(run(database_url, "session", "show", "ps_t", "--json").stdout)["troubles"]
    assert len(troubles) > 3
    assert all(
        f"{t['severity']}: {t['title'].rstrip('.')}: {t['detail']} {t['action']}" in said for t in troubles
    )


def test_a_narrow_list_of_sessions_leaves_columns_out_and_cuts_no_status(database_url: str) -> None:
    asyncio.run(with_sessions(database_url))
    for columns, energy in (("60", False), ("80", True), ("120", True)):
        shown = run(database_url, "sessions", COLUMNS=columns).stdout
        assert ("kWh" in shown) is energy
        assert set(re.findall("completed|charging|…", shown)) == {"completed", "charging"}
        assert max(len(line) for line in shown.splitlines()) <= int(columns)


def test_a_session_is_found_by_the_ids_that_a_person_may_have(database_url: str) -> None:
    asyncio.run(with_sessions(database_url))
    one = json.loads(run(database_url, "session", "show", "ps_r", "--json").stdout)["session"]
    receipt, hold = one["display_reference"], one["authorization_reference"]
    both = ["ps_r", "ps_e"]  # the sessions of these tests have one display reference
    for given, ids in {"ps_r": ["ps_r"], "6891": ["ps_r"], hold: ["ps_r"], receipt.lower(): both}.items():
        found = json.loads(run(database_url, "sessions", "--id", given, "--json").stdout)["data"]
        assert [each["id"] for each in found] == ids, given
    wrong = run(database_url, "session", "show", receipt)
    assert wrong.exit_code == ExitStatus.FAILED
    assert "with --id by the id of a receipt, charge or hold" in wrong.stderr


def test_what_is_done_with_a_session_is_shown_as_json_too(database_url: str) -> None:
    asyncio.run(with_sessions(database_url))
    done = {
        ("session", "close", "ps_r", "--amount", "0", "--reason", "test"): {
            "session",
            "journal",
            "captures",
            "troubles",
        },
        ("session", "evidence", "ps_e"): {"session", "journal", "settlement", "seal"},
        ("session", "export", "--card", "nobody's"): {"sessions"},
        ("charges", "--month", "2026-11"): {"month", "totals", "data"},
        ("reconcile", "--date", NOW.date().isoformat()): {"totals", "differing"},
        ("outages",): set(),
    }
    for command, named in done.items():
        shown = run(database_url, *command, "--json")
        assert shown.exit_code in (ExitStatus.DONE, ExitStatus.FOUND), shown.output
        assert json.loads(shown.stdout).keys() >= named, command


def test_the_documented_exit_statuses_are_these(database_url: str) -> None:
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ", page, re.MULTILINE)
    assert [int(row) for row in rows] == [status.value for status in ExitStatus]
    asyncio.run(with_sessions(database_url))
    expected = {
        ("sessions",): ExitStatus.DONE,
        ("session", "show", "ps_none"): ExitStatus.FAILED,
        ("sessions", "--watch", "--json"): ExitStatus.FAILED,
        ("session", "show"): ExitStatus.USAGE,
        ("sessions", "--limit", "0"): ExitStatus.USAGE,
        ("doctor",): ExitStatus.FOUND,
        ("reconcile", "--date", NOW.date().isoformat()): ExitStatus.FOUND,
    }
    assert {command: run(database_url, *command).exit_code for command in expected} == expected


@pytest.mark.parametrize("columns", [60, 72, 77, 78, 80, 119, 120, 140])
def test_followed_sessions_fit_a_screen_line_by_line(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    session = replace(
        with_charge(a_session(charge_point="12345", amount_minor=5000), "6891", 20_910),
        id=SessionId("ps_" + 26 * "0"),
        status=Status.COMPLETED,
        stop=Stop(reason=StopReason.VEHICLE_OR_CHARGE_POINT, decided_at=NOW),
    )
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", "12")
    live = LiveSessions(POLICY)
    with live._console.capture() as shown:
        live._console.print(live._table([session] * 20, NOW))
    lines = shown.get().splitlines()
    assert len(lines) <= 12
    rows = [line for line in lines if line.startswith(("ps_", "2026"))]
    assert "completed" in rows[0]
    if columns >= 72:
        assert len(lines) == 2 + len(rows), "each session in one line"
        assert len(rows) == 8


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_completes_commands_from_the_tree(shell: str) -> None:
    script = complete(f"source_{shell}", {})
    assert "_TAPWATT_COMPLETE" in script
    words = {"COMP_WORDS": "tapwatt session ", "COMP_CWORD": "2"}
    words |= {"_TYPER_COMPLETE_ARGS": "tapwatt session ", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    offered = complete(f"complete_{shell}", words)
    for name in COMMANDS:
        group, _, word = name.partition(" ")
        assert group != "session" or word in offered


def complete(what: str, more: dict[str, str]) -> str:
    done = invoke([], prog_name="tapwatt", env={"_TAPWATT_COMPLETE": what, **more})
    return done.stdout


def test_sessions_are_followed_line_by_line_in_a_pipe_until_they_are_interrupted(
    database_url: str, tmp_path: Path
) -> None:
    asyncio.run(with_sessions(database_url))
    plain = {name: value for name, value in os.environ.items() if not name.startswith("TAPWATT_")}
    with subprocess.Popen(
        [sys.executable, "-m", "app", "sessions", "--watch", "--interval", "0.2"],
        cwd=tmp_path,
        env=plain | settings_for(database_url, PYTHONPATH=str(ROOT)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout is not None
        lines = [watching.stdout.readline() for _ in range(2)]
        watching.send_signal(signal.SIGINT)
        rest, err = watching.communicate(timeout=PATIENCE_S)
    assert [line.split()[2:4] for line in lines] == [["ps_e", "102"], ["ps_r", "101"]], err
    assert (watching.returncode, rest, err) == (0, "", ""), "nothing changed, and it ends cleanly"


def test_a_chart_is_as_high_as_the_limit_is_used() -> None:
    session = with_charge(a_session(), "6891", 10_000)
    lines = [
        JournalEntry(
            id=n,
            at=NOW + timedelta(minutes=n),
            kind=JournalKind.CHARGE_REPORTED,
            source="monta_webhook",
            detail={"energy_wh": 1000 * n, "price": f"{2 * n}.00"},
            hash=b"",
        )
        for n in range(11)
    ]
    drawn = chart_lines(session, lines, POLICY, 60)
    assert len(drawn) == 1 + 1 + HEIGHT + 1
    assert all(len(line) <= 60 for line in drawn)
    assert drawn[1].startswith("20.00 EUR ┄")
    rows = [line.partition("│")[2] for line in drawn[2:-1]]
    assert rows[0].endswith("█"), "all of it is used in the end"
    widths = [sum(cell != " " for cell in row) for row in rows]
    assert widths == sorted(widths), "and it rose"
    assert drawn[-1].split() == ["10:00:00", "10:10:00"]
    assert chart_lines(replace(session, charge=None), lines[:1], POLICY, 60) == []
