"""Tests of app/console/static.

Colours that are legible in light and dark, a focus that is seen, and rules for phones.
"""

import re

import pytest

from tests.console.accessibility import contrast, stylesheet, themes

TEXT = ("ink", "soft", "link", "good", "warn", "bad", "accent")
GROUNDS = ("ground", "panel", "hover")
ON_ITS_OWN = (
    ("accent-ink", "accent"),
    ("warn", "warn-ground"),
    ("ink", "warn-ground"),
    ("bad", "bad-ground"),
    ("ink", "bad-ground"),
    ("panel", "bad"),
)
DRAWN = ("energy", "cost", "limit", "plan", "bar", "focus")


def test_contrast_is_wcags_own() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_drawings_are_legible(theme: str) -> None:
    colours = themes()[theme]
    pairs = [(text, ground) for text in TEXT for ground in GROUNDS] + list(ON_ITS_OWN)
    pale = {f"{a} on {b}" for a, b in pairs if contrast(colours[a], colours[b]) < 4.5}
    assert not pale
    faint = {a for a in DRAWN if contrast(colours[a], colours["panel"]) < 3}
    assert not faint
    assert contrast(colours["bar"], colours["track"]) >= 3


def test_every_colour_is_one_of_the_themes() -> None:
    outside = re.sub(r":root \{[^}]*\}", "", stylesheet())
    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b", outside)
    used = set(re.findall(r"var\(--([\w-]+)\)", stylesheet()))
    assert used == set(themes()["light"])


def test_focus_is_seen_and_motion_is_asked_for() -> None:
    css = stylesheet()
    assert re.search(r":focus-visible \{ outline: 3px solid var\(--focus\)", css)
    hidden = re.findall(r"([^{}]+)\{[^}]*outline: none", css)
    assert [rule.strip() for rule in hidden] == ["main:focus"], "the target of the skip link only"
    for rule in re.findall(r"[^\n]*transition[^\n]*", css):
        assert "prefers-reduced-motion: no-preference" in rule


def test_the_style_is_for_light_dark_and_phones_and_takes_nothing_from_elsewhere() -> None:
    css = stylesheet()
    for media in ("prefers-color-scheme: dark", "max-width: 44rem"):
        assert f"@media ({media})" in css
    assert "url(" not in css
    assert "@import" not in css
