"""Remembers which operators have endpoints of terminal makers, so that others' changes cost nothing more."""

from app.domain.units.ids import OperatorId

CHECKED_S = 1.0
"""How long what was read counts: changes within a second of the first endpoint may be missed."""


class KnownEndpoints:
    """Which operators have endpoints, and when (monotonic seconds) that was read. A few bytes an operator."""

    def __init__(self) -> None:
        self._read: dict[OperatorId, tuple[float, bool]] = {}

    def of(self, operator_id: OperatorId, now_s: float) -> bool | None:
        """Whether an operator has any. None: it was not read lately."""
        read_s, has_any = self._read.get(operator_id, (now_s - 2 * CHECKED_S, False))
        return has_any if now_s - read_s <= CHECKED_S else None

    def put(self, operator_id: OperatorId, now_s: float, *, has_any: bool) -> None:
        self._read[operator_id] = (now_s, has_any)
