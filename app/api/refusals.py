"""Keys that opened no door: counted by kind of door, and told when they come too often."""

from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from app.flows.tools import Tools

log = structlog.get_logger("api")

WINDOW_S = 60.0
MANY = 60
"""So many within a window are more than a terminal that was set up wrongly makes: somebody should look."""


class Door(StrEnum):
    TERMINAL = "terminal"
    OPERATIONS = "operations"


@dataclass(slots=True)
class _Window:
    began_s: float = float("-inf")
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Refusals:
    """Of one process. Nobody is held back here: a key has 256 random bits, and callers are limited by the proxy, which
    sees them at all replicas."""

    _windows: dict[Door, _Window] = field(default_factory=lambda: {door: _Window() for door in Door})

    def count(self, tools: Tools, door: Door) -> None:
        """A line in the log once a window and door at most, with nothing of what was sent."""
        tools.telemetry.key_refused(door)
        now_s, window = tools.clock.monotonic(), self._windows[door]
        if now_s - window.began_s >= WINDOW_S:
            window.began_s, window.refused = now_s, 0
        window.refused += 1
        if window.refused == MANY:
            log.error("many_keys_refused", door=door.value, refused=MANY, within_s=WINDOW_S)
