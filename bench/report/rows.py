"""What was measured: one row a case and label, with the samples of each system in the order of the rounds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median
from typing import Any

TAPWATT, USUAL, CEILING = "tapwatt", "usual", "ceiling"
SYSTEMS = (USUAL, TAPWATT, CEILING)


class Want(StrEnum):
    """How a goal's bound is meant."""

    TIMES = "times"
    """At least this many times the usual way's figure."""
    SHARE = "share"
    """At most this share of the usual way's figure."""
    NEAR = "near"
    """At most this many times the ceiling's figure."""
    LEAST = "least"
    MOST = "most"


@dataclass(frozen=True, slots=True)
class Goal:
    want: Want
    bound: float

    def __str__(self) -> str:
        match self.want:
            case Want.TIMES:
                return f">= {self.bound:g} x"
            case Want.SHARE:
                return f"<= {self.bound:g} x"
            case Want.NEAR:
                return f"<= {self.bound:g} x ceiling"
            case Want.LEAST:
                return f">= {self.bound:g}"
            case Want.MOST:
                return f"<= {self.bound:g}"


@dataclass(slots=True)
class Row:
    """One figure, for each system and round; `cpu_us`: microseconds a unit, by system and part."""

    case: str
    label: str
    unit: str
    goal: Goal | None = None
    samples: dict[str, list[float]] = field(default_factory=dict)
    cpu_us: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, system: str, value: float, cpu_us: Mapping[str, float] | None = None) -> None:
        self.samples.setdefault(system, []).append(value)
        for part, us in (cpu_us or {}).items():
            self.cpu_us.setdefault(system, {}).setdefault(part, []).append(us)

    def figure(self, system: str) -> float | None:
        found = self.samples.get(system)
        return median(found) if found else None

    @property
    def ratio(self) -> float | None:
        """The median of the rounds' own ratios to the usual way, so that a slow minute counts for both."""
        pairs = zip(self.samples.get(TAPWATT, ()), self.samples.get(USUAL, ()), strict=False)
        ratios = [ours / usual for ours, usual in pairs if usual]
        return median(ratios) if ratios else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None: there is none, or nothing to compare with."""
        ours = self.figure(TAPWATT)
        if self.goal is None or ours is None:
            return None
        measured: float | None = ours
        if self.goal.want in (Want.TIMES, Want.SHARE):
            measured = self.ratio
        elif self.goal.want is Want.NEAR:
            ceiling = self.figure(CEILING)
            measured = ours / ceiling if ceiling else None
        if measured is None:
            return None
        at_least = self.goal.want in (Want.TIMES, Want.LEAST)
        return measured >= self.goal.bound if at_least else measured <= self.goal.bound

    def json(self) -> dict[str, Any]:
        return {
            "case": self.case,
            "label": self.label,
            "unit": self.unit,
            "goal": str(self.goal) if self.goal else None,
            "met": self.met,
            "ratio": self.ratio,
            "samples": self.samples,
            "cpu_us": self.cpu_us,
        }


class Rows:
    """All rows, in the order of their first sample."""

    def __init__(self) -> None:
        self.all: dict[tuple[str, str], Row] = {}

    def row(self, case: str, label: str, unit: str, goal: Goal | None = None) -> Row:
        return self.all.setdefault((case, label), Row(case, label, unit, goal))

    def __iter__(self) -> Any:
        return iter(self.all.values())
