"""The history of a world, line by line, to explain a violation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from tests.world.loop import BEGINNING

MAX_LINES = 200_000


@dataclass(frozen=True, slots=True)
class Line:
    at: datetime
    who: str
    what: str

    def __str__(self) -> str:
        seconds = (self.at - BEGINNING).total_seconds()
        return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02}:{seconds % 60:06.3f}  {self.who:<14} {self.what}"


class Violation(AssertionError):
    """A rule was broken; carries the rule's name."""

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(rule, what)
        self.rule = rule
        self.what = what

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}"


@dataclass(slots=True)
class Story:
    """Kept in memory; the same seed gives the same story, word for word."""

    now: Callable[[], datetime]
    lines: list[Line] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)

    def add(self, who: str, what: str) -> None:
        if len(self.lines) < MAX_LINES:
            self.lines.append(Line(self.now(), who, what))

    def violated(self, rule: str, what: str) -> None:
        """Recorded here and raised by the world, since the caller might swallow an exception."""
        self.violations.append(Violation(rule, what))
        self.add("!!!", f"{rule}: {what}")

    @contextmanager
    def rule(self, name: str) -> Iterator[None]:
        """Turns an assertion that fails within the block into a violation of this rule."""
        try:
            yield
        except AssertionError as error:
            self.violated(name, str(error))

    def __str__(self) -> str:
        return "\n".join(map(str, self.lines))
