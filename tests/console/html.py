"""Reads a page into a tree, as far as tests need it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset({"meta", "link", "input", "br", "hr", "img", "line", "circle", "polyline", "rect", "path"})
HIDDEN = frozenset({"script", "style", "template"})


@dataclass
class Node:
    """An element: its attributes, and its children in order, text among them."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: "list[Node | str]" = field(default_factory=list)
    parent: "Node | None" = None

    def walk(self) -> "Iterator[Node]":
        for child in self.children:
            if isinstance(child, Node):
                yield child
                yield from child.walk()

    def all(self, *tags: str, **attributes: str) -> "list[Node]":
        """Elements within, by tag and by attributes that they have exactly."""
        return [
            node
            for node in self.walk()
            if (not tags or node.tag in tags)
            and all(node.attributes.get(k.rstrip("_").replace("_", "-")) == v for k, v in attributes.items())
        ]

    def one(self, *tags: str, **attributes: str) -> "Node":
        found = self.all(*tags, **attributes)
        assert len(found) == 1, f"{len(found)} of {tags} {attributes}"
        return found[0]

    @property
    def text(self) -> str:
        parts = [
            c if isinstance(c, str) else c.text
            for c in self.children
            if isinstance(c, str) or c.tag not in HIDDEN
        ]
        return " ".join(" ".join(parts).split())

    def within(self, *tags: str) -> bool:
        return self.parent is not None and (self.parent.tag in tags or self.parent.within(*tags))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = self.open = Node("#root")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs}, parent=self.open)
        assert len(node.attributes) == len(attrs), f"<{tag}> has an attribute twice"
        self.open.children.append(node)
        if tag not in VOID:
            self.open = node

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.children.append(Node(tag, {name: value or "" for name, value in attrs}, parent=self.open))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.tag == tag, f"</{tag}> closes <{self.open.tag}>"
        assert self.open.parent is not None
        self.open = self.open.parent

    def handle_data(self, data: str) -> None:
        self.open.children.append(data)


def parsed(page: str) -> Node:
    """The tree of a page. Fails where elements are not closed in order."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.open is reader.root, f"<{reader.open.tag}> is not closed"
    return reader.root
