"""README and docs are true where a program can check: settings, magic charge points, commands, files, links."""

import re
from dataclasses import Field, fields
from pathlib import Path

import pytest
from typer.core import TyperGroup as Group

from app.settings import PREFIX, Settings
from app.simulator.charge_points import MAGIC, ORDINARY, Magic
from tests.checks.pages import PAGES, ROOT, anchors, text_of
from tests.commands import APP, tree_of

README_LINES = 120
WALK_FILES = 20


def names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


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


def test_the_readme_is_read_in_two_minutes() -> None:
    assert len(text_of("README.md").splitlines()) <= README_LINES


@pytest.mark.parametrize("setting", fields(Settings), ids=lambda setting: str(setting.name))
def test_each_setting_stands_in_the_docs_with_its_default(setting: Field[object]) -> None:
    row = f"| `{PREFIX}{setting.name.upper()}` | {shown(setting.default)} |"
    assert row in text_of("docs/settings.md")


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_a_page_names_no_setting_that_does_not_exist(page: Path) -> None:
    named = set(re.findall(rf"{PREFIX}(?!TEST_)[A-Z_]+[A-Z]", page.read_text(encoding="utf-8")))
    assert named <= {PREFIX + each.name.upper() for each in fields(Settings)}


@pytest.mark.parametrize("point", [*ORDINARY, *MAGIC], ids=lambda point: str(point.id))
def test_each_charge_point_of_the_simulator_stands_in_the_docs(point: Magic) -> None:
    assert f"| {point.id} | {point.name} | {point.happens} |" in text_of("docs/simulator.md")


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_each_command_that_a_page_shows_exists(page: Path) -> None:
    whole = tree_of(APP)
    assert isinstance(whole, Group)
    shown_there = page.read_text(encoding="utf-8")
    for first, second in re.findall(r"^tapwatt ([a-z-]+)(?: ([a-z][a-z-]*))?", shown_there, re.MULTILINE):
        assert first in whole.commands, first
        group = whole.commands[first]
        assert not isinstance(group, Group) or second in group.commands, f"{first} {second}"


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_each_file_that_a_page_names_exists(page: Path) -> None:
    for path in re.findall(
        r"`((?:app|tests|docs|migrations|bench)/[\w./-]+)`", page.read_text(encoding="utf-8")
    ):
        assert (ROOT / path).exists(), path


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, ahead = set[Path](), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        reached.add(page)
        targets = re.findall(r"\]\(([^)\s#]+\.md)", page.read_text(encoding="utf-8"))
        found = {(page.parent / target).resolve() for target in targets if "://" not in target}
        ahead += [each for each in found - reached if each not in ahead]
    assert not set(PAGES) - reached


def test_what_the_architecture_names_in_a_file_stands_there() -> None:
    for path, given in re.findall(
        r"`(app/[\w/]+\.py)` \(((?:`\w+`(?:, )?)+)\)", text_of("docs/architecture.md")
    ):
        for name in re.findall(r"\w+", given):
            assert re.search(rf"\b{name}\b", text_of(path)), f"{name} in {path}"


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_each_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        led_to = page.parent / path if path else page
        assert led_to.exists(), target
        assert not anchor or anchor in anchors(led_to), target


def _packages(folder: str) -> set[str]:
    return {path.parent.name for path in (ROOT / folder).glob("*/__init__.py")}


def test_the_layers_show_every_package_and_every_module_at_the_top() -> None:
    architecture = text_of("docs/architecture.md")
    layers = architecture[architecture.index("```\napp/") : architecture.index("Imports point down only")]
    modules = {path.name for path in (ROOT / "app").glob("*.py") if not path.name.startswith("__")}
    assert modules <= set(re.findall(r"\w+\.py\b", layers))
    shown = set(re.findall(r"(\w+)/", layers))
    for folder in ("app", "app/domain", "app/flows"):
        assert _packages(folder) <= shown, folder


def test_the_readme_says_where_every_package_is() -> None:
    readme = text_of("README.md")
    rows = readme[readme.index("| folder |") : readme.index("Three walks")]
    assert {f"app/{name}" for name in _packages("app")} <= set(re.findall(r"`([\w/.]+)`", rows))
    for folder in ("app/domain", "app/flows"):
        (row,) = (line for line in rows.splitlines() if line.startswith(f"| `{folder}` |"))
        assert _packages(folder) <= set(re.findall(r"`(\w+)`", row)), folder


def test_the_walk_to_the_stop_decision_touches_20_files_at_most() -> None:
    architecture = text_of("docs/architecture.md")
    walk = architecture[architecture.index("## Walk") : architecture.index("Afterwards")]
    assert 0 < len(set(re.findall(r"`(app/[\w/]+\.py)`", walk))) <= WALK_FILES


DECISIONS = ROOT / "docs" / "decisions"


def test_decisions_are_numbered_without_gaps_and_stand_in_the_index() -> None:
    records = sorted(page for page in DECISIONS.glob("*.md") if page.name != "README.md")
    index = (DECISIONS / "README.md").read_text(encoding="utf-8")
    for number, record in enumerate(records, 1):
        assert record.name.startswith(f"{number:04d}-"), record.name
        title = record.read_text(encoding="utf-8").splitlines()[0].removeprefix(f"# {number}. ")
        assert f"| [{number:04d}]({record.name}) | {title} | " in index


def test_each_decision_that_is_referred_to_exists() -> None:
    numbers = {page.name[:4] for page in DECISIONS.glob("0*.md")}
    sources = [*PAGES, *ROOT.glob("app/**/*.py"), *ROOT.glob("tests/**/*.py")]
    for source in sources:
        text = source.read_text(encoding="utf-8")
        assert set(re.findall(r"[Dd]ecision (\d+)\b", text)) <= numbers, source
        if source.parent == DECISIONS:
            assert set(re.findall(r"(?<![\d.`|\[])\b(0\d{3})\b(?![.\d])", text)) <= numbers, source


@pytest.mark.parametrize(
    "record", sorted(DECISIONS.glob("0*.md")), ids=names(sorted(DECISIONS.glob("0*.md")))
)
def test_what_enforces_a_decision_exists(record: Path) -> None:
    _, found, enforced = record.read_text(encoding="utf-8").rpartition("Enforced by:")
    assert found, "the record does not say what enforces it"
    for path in re.findall(r"\b((?:app|tests)/[\w/]+(?:\.py)?)", enforced):
        assert (ROOT / path).exists(), path
