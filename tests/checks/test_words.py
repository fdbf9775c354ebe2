"""One word for one thing: a word that was given up for the field's own does not come back."""

import ast
import re

import pytest

from tests.checks.pages import ROOT

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
    return written()


@pytest.mark.parametrize("word", GIVEN_UP)
def test_a_word_that_was_given_up_is_not_used(texts: dict[str, str], word: str) -> None:
    # Part of a longer name counts, too: `_wish`, `unheard_at`, but neither `wishbone` nor `trailing`.
    pattern = re.compile(rf"(?<![a-zA-Z])({word})(?![a-zA-Z])", re.IGNORECASE)
    found = [f"{path}: {match.group()}" for path, text in texts.items() for match in pattern.finditer(text)]
    assert not found, f"say {GIVEN_UP[word]}: {found[:5]}"


def test_the_check_sees_names_within_names() -> None:
    pattern = re.compile(r"(?<![a-zA-Z])(unheard)(?![a-zA-Z])")
    assert pattern.search("settlements_unheard_at")
    assert not pattern.search("unheardof")


def test_texts_name_amounts_in_major_units_with_their_currency() -> None:
    """A text for people that is filled with an amount takes `format_minor`; APIs have the number beside it."""
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "app").rglob("*.py")}
    trees = {p: ast.parse(text) for p, text in sources.items() if re.search(r"_minor[}:!]|minor unit", text)}
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr) and _says_minor(node)
    ]
    assert not found, "\n".join(found)


def _says_minor(text: ast.JoinedStr) -> bool:
    filled = [part.value for part in text.values if isinstance(part, ast.FormattedValue)]
    words = "".join(str(part.value) for part in text.values if isinstance(part, ast.Constant))
    names = [getattr(value, "attr", getattr(value, "id", "")) for value in filled]
    return any(name.endswith("_minor") for name in names) or (bool(filled) and "minor unit" in words)
