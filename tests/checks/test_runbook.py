"""The runbook has a section for each alert and code, with commands and console pages that exist."""

import re

from typer.core import TyperGroup as Group

from app.console.routes import equipment, health, live, money, search, session
from app.domain.alerts.causes import AlertCode
from app.domain.session.attention import AttentionCode
from tests.checks.pages import text_of
from tests.checks.runbook import rules
from tests.commands import APP, tree_of

PAGE = text_of("docs/runbook.md")
SECTIONS = re.findall(r"^### (\w+)\n\n((?:- .+\n)+)", PAGE, re.MULTILINE)


def test_each_alert_and_code_has_one_section_that_says_how_to_look_and_what_to_do() -> None:
    wanted = [*(rule["alert"] for rule in rules()), *AlertCode, *AttentionCode]
    assert [name for name, _ in SECTIONS] == wanted
    for name, body in SECTIONS:
        for part in ("Severity", "Meaning", "Look", "Do"):
            assert re.search(rf"^- {part}: \S.+", body, re.MULTILINE), name
        (look,) = re.findall(r"^- Look: (.+)$", body, re.MULTILINE)
        assert "Console: /console" in look, name


def test_each_command_exists() -> None:
    whole = tree_of(APP)
    assert isinstance(whole, Group)
    found = re.findall(r"`tapwatt ([a-z-]+)(?: ([a-z][a-z-]*))?(?: ([a-z][a-z-]*))?", PAGE)
    assert len(found) > 40
    for words in found:
        at: object = whole
        for word in filter(None, words):
            if isinstance(at, Group):
                assert word in at.commands, words
                at = at.commands[word]


def test_each_console_page_exists() -> None:
    routers = (equipment, health, live, money, search, session)
    known = {getattr(route, "path", "") for router in routers for route in router.router.routes}
    named = {path.rstrip("/") for path in re.findall(r"/console(?:/[a-z]+(?:/ps_\.\.\.)?)?", PAGE)}
    assert len(named) >= 5
    assert {path.replace("ps_...", "{id}") for path in named} <= known
