"""The generated parts of docs are what the tables in the code say."""

from app.domain.session.attention import SEVERITIES, Severity
from tests.checks.generated_docs import COMMAND, PARTS, expected, marks


def test_generated_pages_are_not_stale() -> None:
    for path, text in expected().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is stale; run {COMMAND}"


def test_the_marks_stand_once_and_every_severity_is_explained() -> None:
    for page in PARTS:
        text = page.read_text(encoding="utf-8")
        assert [text.count(mark) for mark in marks(page)] == [1, 1]
    assert list(SEVERITIES) == list(Severity)
