"""One word for one thing: a word that was given up for the field's own does not come back."""

import ast
import re

import pytest

from tests.checks.pages import ROOT
from tests.checks.sources import modules, nodes, text_of, tree_of

GIVEN_UP = {
    "reserved_minor": "authorized_minor",
    "kept_back(_minor)?": "idle_fee_reserve",
    "wish": "stop_request",
    "habits?": "profile",
    "trail": "meter history",
    "strays?": "duplicate charge",
    "(shown|held)_w|seen_power_w": "estimated_max_w, before_drop_w, observed_max_w",
    "plausible_guess": "plausibility",
    "unheard": "overdue",
    "sightings?": "polled reports",
    "(cell|plain)_outlook": "forecast",
    "again_after_conflict": "retry_on_serialization_failure",
    "outlive_the_primary": "wait_for_standby",
    "give_back": "release",
    "doubted_at": "refused_since",
    "lead_until": "renewal_lease_until",
    "safe_json": "strict_json",
    "upkeep": "sync",
    "reckoning": "audit",
    "quirks?": "fault",
    "courier": "delivery",
    "mischief": "fault injector",
    "purse": "terminal ledger",
    "furnish": "provision",
    "so (long|many) as": "as long as, as many as",
}
"""By pattern of a whole word, the word to use instead."""
FOLDERS = ("app", "migrations", "tests", "bench", "docs", "deploy")
SUFFIXES = {".py", ".md", ".html", ".js", ".yml", ".yaml", ".json", ".ini", ".service"}


def written() -> dict[str, str]:
    """All text of the project by path, without this file."""
    found = [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    kept = (path for path in found if path.suffix in SUFFIXES and path.name != "test_words.py")
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in kept}


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """In small letters."""
    return {path: text.lower() for path, text in written().items()}


def found_in(text: str, word: str) -> list[str]:
    """Where a pattern stands as a whole word, or as part of a longer name: `_wish`, `unheard_at`, but neither
    `wishbone` nor `trailing`. What stands before is looked at last, for a pattern that begins with a letter is found
    ten times faster."""
    return [
        match.group()
        for match in re.finditer(rf"(?:{word})(?![a-z])", text)
        if not re.match("[a-z]", text[max(0, match.start() - 1) : match.start()])
    ]


@pytest.mark.parametrize("word", GIVEN_UP)
def test_a_word_that_was_given_up_is_not_used(texts: dict[str, str], word: str) -> None:
    found = [f"{path}: {each}" for path, text in texts.items() for each in found_in(text, word)]
    assert not found, f"say {GIVEN_UP[word]}: {found[:5]}"


def test_the_check_sees_names_within_names() -> None:
    assert found_in("settlements_unheard_at", "unheard") == ["unheard"]
    assert found_in("unheard", "unheard") == ["unheard"]
    assert not found_in("unheardof", "unheard")
    assert not found_in("twish wishbone", "wish")


def test_texts_name_amounts_in_major_units_with_their_currency() -> None:
    """A text for people that is filled with an amount takes `format_minor`; APIs have the number beside it."""
    named = [path for path in modules("app") if re.search(r"_minor[}:!]|minor unit", text_of(path))]
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"
        for path in named
        for node in nodes(tree_of(path), ast.JoinedStr)
        if _says_minor(node)
    ]
    assert not found, "\n".join(found)


def _says_minor(text: ast.JoinedStr) -> bool:
    filled = [part.value for part in text.values if isinstance(part, ast.FormattedValue)]
    words = "".join(str(part.value) for part in text.values if isinstance(part, ast.Constant))
    names = [getattr(value, "attr", getattr(value, "id", "")) for value in filled]
    return any(name.endswith("_minor") for name in names) or (bool(filled) and "minor unit" in words)
