"""The systemd units run commands that exist, with secrets as files and no rights to spare."""

import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
from typer.core import TyperGroup as Group

from app.settings import PREFIX, SECRETS_FOLDER, Settings
from tests.commands import APP, tree_of
from tests.postgres import ROOT

UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))


def test_both_processes_have_a_unit() -> None:
    assert [unit.stem for unit in UNITS] == ["tapwatt-serve", "tapwatt-watch"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_runs_a_command_that_exists_with_secrets_as_files(unit: Path) -> None:
    text = unit.read_text(encoding="utf-8")
    whole = tree_of(APP)
    assert isinstance(whole, Group)
    (command, options) = re.findall(r"^ExecStart=/opt/tapwatt/bin/tapwatt (\w+)(.*)$", text, re.MULTILINE)[0]
    known = {option for parameter in whole.commands[command].params for option in parameter.opts}
    assert set(re.findall(r"--[\w-]+", options)) <= known
    secrets = re.findall(r"^LoadCredential=(\w+):/etc/tapwatt/secrets/(\w+)$", text, re.MULTILINE)
    assert {name for name, _ in secrets} == {PREFIX + "SECRET_KEY", PREFIX + "DATABASE_URL"}
    assert all(
        name == file and name.removeprefix(PREFIX).lower() in {each.name for each in fields(Settings)}
        for name, file in secrets
    )
    assert f"\nBindReadOnlyPaths=%d:{SECRETS_FOLDER}\n" in text
    for line in ("DynamicUser=yes", "NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet="):
        assert f"\n{line}\n" in text
    for line in ("PrivateUsers=yes", "ProtectProc=invisible", "SystemCallFilter=~@privileged @resources"):
        assert f"\n{line}\n" in text


def test_both_units_are_confined_alike() -> None:
    """All that differs is what they run."""
    own = re.compile(r"^(Description|ExecStart)=.*$", re.MULTILINE)
    assert len({own.sub("", unit.read_text(encoding="utf-8")) for unit in UNITS}) == 1


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_takes_a_unit(unit: Path, tmp_path: Path) -> None:
    here = tmp_path / unit.name
    text = unit.read_text(encoding="utf-8")
    here.write_text(text.replace("/opt/tapwatt/bin/tapwatt", "/bin/true"), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(here)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if unit.name in line]) == (0, [])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_little_that_a_unit_could_do_without(unit: Path) -> None:
    """1.2 of 10 by systemd 252: the host's network, addresses and files that it may read remain."""
    audit = ["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", str(unit)]
    done = subprocess.run(audit, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
