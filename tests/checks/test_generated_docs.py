"""The generated parts of docs are what the tables in the code say."""

from app.domain.session.attention import SEVERITIES, Severity
from tests.checks.generated_docs import ARCHITECTURE, BEGIN, COMMAND, END, expected


def test_generated_pages_are_not_stale() -> None:
    for path, text in expected().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is stale; run {COMMAND}"


def test_the_marks_stand_once_and_every_severity_is_explained() -> None:
    page = ARCHITECTURE.read_text(encoding="utf-8")
    assert (page.count(BEGIN), page.count(END)) == (1, 1)
    assert list(SEVERITIES) == list(Severity)
