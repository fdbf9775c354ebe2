"""What every page must have for keyboards and screen readers, asserted by hand."""

import itertools
import re

from app.console.http.assets import STATIC
from tests.console.html import Node

NAMED = ("aria-label", "aria-labelledby", "title")


def check(root: Node) -> None:
    """Fails with what is missing."""
    html = root.one("html")
    assert html.attributes["lang"] == "en"
    assert html.one("title").text.endswith("· Tapwatt")
    assert "width=device-width" in html.one("meta", name="viewport").attributes["content"]
    assert "user-scalable" not in html.one("meta", name="viewport").attributes["content"]
    landmarks(root)
    headings(root)
    ids(root)
    controls(root)
    tables(root)
    nothing_inline(root)


def landmarks(root: Node) -> None:
    main = root.one("main")
    skip = root.one("a", class_="skip")
    assert skip.attributes["href"] == f"#{main.attributes['id']}"
    assert main.attributes["tabindex"] == "-1"
    assert len(root.all("header")) == 1
    for nav in root.all("nav"):
        assert nav.attributes["aria-label"]
    assert len(root.all("a", aria_current="page")) <= 1


def headings(root: Node) -> None:
    """One first heading, and no level is skipped."""
    found = [node for node in root.one("main").walk() if re.fullmatch("h[1-6]", node.tag)]
    levels = [int(node.tag[1]) for node in found]
    assert levels[:1] == [1]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), levels
    assert all(node.text for node in found)


def ids(root: Node) -> None:
    seen = [node.attributes["id"] for node in root.walk() if "id" in node.attributes]
    assert len(seen) == len(set(seen)), sorted(i for i in seen if seen.count(i) > 1)
    for node in root.walk():
        for name in ("aria-labelledby", "aria-describedby", "for"):
            for target in node.attributes.get(name, "").split():
                assert target in seen, f"{name}={target} leads nowhere"


def controls(root: Node) -> None:
    labelled = {node.attributes.get("for") for node in root.all("label")}
    for node in root.all("input", "select", "textarea"):
        hidden = node.attributes.get("type") == "hidden"
        assert hidden or node.attributes.get("id") in labelled, f"{node.attributes} has no label"
    for node in root.all("progress"):
        assert node.attributes["aria-label"], "a bar says what it shows"
    for node in root.all("svg"):
        assert node.attributes["role"] == "img"
        assert node.attributes["aria-label"]
    for node in root.all("a", "button", "summary"):
        named = node.text or any(node.attributes.get(name) for name in NAMED)
        assert named or node.within("template"), f"{node.tag} {node.attributes} has no name"
    for node in root.walk():
        assert int(node.attributes.get("tabindex", 0)) <= 0, "a positive tabindex breaks the order"
    assert all(node.attributes["href"] for node in root.all("a"))
    for form in root.all("form"):
        posts = form.attributes.get("method") == "post"
        assert not posts or form.all("input", name="csrf"), "a form without a token"
        assert form.all("button"), "a form is sent by a button"


def tables(root: Node) -> None:
    for table in root.all("table"):
        assert table.all("caption") or table.within("section"), "a table has a caption or a section's heading"
        for header in table.all("th"):
            assert header.attributes["scope"] in ("col", "row")
        head = table.one("thead")
        width = sum(int(c.attributes.get("colspan", 1)) for c in head.all("th", "td"))
        for row in table.all("tr"):
            cells = [c for c in row.children if isinstance(c, Node)]
            assert sum(int(c.attributes.get("colspan", 1)) for c in cells) == width
            assert row.within("thead") or cells[0].tag == "th" or row.all("th", scope="row")


def nothing_inline(root: Node) -> None:
    """The policy would block it anyway; here it is a mistake."""
    for node in root.walk():
        assert "style" not in node.attributes
        assert node.tag != "style"
        assert not [name for name in node.attributes if name.startswith("on")]
        if node.tag == "script":
            assert node.attributes["src"].startswith("/console/static/")
            assert not node.children
        for name in ("src", "href", "action"):
            where = node.attributes.get(name, "/")
            assert where.startswith(("/", "#", "?")), f"{name}={where} leads elsewhere"
            assert not where.startswith("//")


def stylesheet() -> str:
    return (STATIC / "console.css").read_text(encoding="utf-8")


def themes() -> dict[str, dict[str, str]]:
    """The colours of the light and the dark theme by name."""
    blocks = re.findall(r":root \{([^}]*)\}", stylesheet())
    assert len(blocks) == 2
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks)
    assert set(light) == set(dark)
    return {"light": light, "dark": dark}


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio of two colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)
