"""The README is true where a program can tell: settings, magic charge points, commands, links."""

import re
from pathlib import Path

import pytest
from typer.core import TyperGroup as Group
from typer.main import get_command

from app.cli import app
from app.settings import PREFIX, Settings
from app.simulator.charge_points import MAGIC, ORDINARY, Magic

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def shown(default: object) -> str:
    match default:
        case None:
            return "unset"
        case bool():
            return f"`{int(default)}`"
        case float():
            return f"`{default:g}`"
        case _:
            return f"`{default}`"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_each_setting_stands_in_the_readme_with_its_default(name: str) -> None:
    assert f"| `{PREFIX}{name.upper()}` | {shown(Settings.model_fields[name].default)} |" in README


def test_the_readme_names_no_setting_that_does_not_exist() -> None:
    named = set(re.findall(rf"{PREFIX}[A-Z_]+[A-Z]", README))
    assert named <= {PREFIX + name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("point", [*ORDINARY, *MAGIC], ids=lambda point: str(point.id))
def test_each_charge_point_of_the_box_stands_in_the_readme(point: Magic) -> None:
    assert f"| {point.id} | {point.name} | {point.happens} |" in README


def test_each_command_that_the_readme_shows_exists() -> None:
    whole = get_command(app)
    assert isinstance(whole, Group)
    for first, second in re.findall(r"^tapwatt ([a-z-]+)(?: ([a-z][a-z-]*))?", README, re.MULTILINE):
        assert first in whole.commands, first
        group = whole.commands[first]
        assert not isinstance(group, Group) or second in group.commands, f"{first} {second}"


def test_each_file_that_the_readme_names_exists() -> None:
    for path in re.findall(r"`((?:app|tests|docs|migrations)/[\w./-]+)`", README):
        assert (ROOT / path).exists(), path
