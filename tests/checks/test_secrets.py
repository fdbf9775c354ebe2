"""Objects leave their secrets out of their repr, which a log line or a failed assertion may show (F91)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import ROOT

SECRET = re.compile(r"secret|token|password|api_key|_key$|^key$|^access$|^refresh$|^url$")
MAY_HOLD = re.compile(
    r"^ *@(?:frozen|.*dataclass)[\s\S]*?^ +\w*(?:secret|token|password|key|access|refresh|url)\w* *:",
    re.MULTILINE,
)
"""A module that may have such a field; parsing all others as well would take each worker a third of a second."""
NO_SECRET = {
    ("PaymentAuthorized", "idempotency_key"),
    ("PaymentKeys", "idempotency_key"),
    ("Recorded", "idempotency_key"),
    ("NewPayment", "idempotency_key"),
    ("Entry", "dedupe_key"),
    ("InboxEntry", "dedupe_key"),
    ("Readiness", "secrets"),
}
"""A terminal's word for its call, a hash of an entry, and a problem in words."""


def suspects() -> Iterator[tuple[str, ast.ClassDef, ast.AnnAssign]]:
    """Fields of dataclasses that hold a text under a secret's name."""
    for path in sorted(Path(ROOT, "app").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if not MAY_HOLD.search(text):
            continue
        for each in ast.walk(ast.parse(text)):
            if isinstance(each, ast.ClassDef) and re.search(
                "dataclass|frozen", "".join(map(ast.unparse, each.decorator_list))
            ):
                for field in (f for f in each.body if isinstance(f, ast.AnnAssign)):
                    name, kind = ast.unparse(field.target), ast.unparse(field.annotation)
                    if SECRET.search(name) and re.search(r"\bstr\b", kind):
                        yield f"{path.stem}.{each.name}.{name}", each, field


@pytest.mark.parametrize(("of", "field"), [pytest.param(c, f, id=name) for name, c, f in suspects()])
def test_a_secret_is_not_in_the_repr(of: ast.ClassDef, field: ast.AnnAssign) -> None:
    hidden = field.value is not None and "repr=False" in ast.unparse(field.value)
    own = any(isinstance(each, ast.FunctionDef) and each.name == "__repr__" for each in of.body)
    assert hidden or own or (of.name, ast.unparse(field.target)) in NO_SECRET


def test_secrets_are_found_by_their_names() -> None:
    found = {name.partition(".")[2] for name, _, _ in suspects()}
    assert {"AddedKey.api_key", "Operator.client_secret", "Token.refresh", "EmailOutlet.url"} <= found
