"""Bounds the streams that are open: in all, of each operator and of each key."""

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing

from app.domain.units.ids import KeyId, OperatorId
from app.store.operators.keys import OpsKey

MOST_VIEWERS = 100
"""Open streams of this process; one more is answered with 503."""
MOST_OF_ONE = 50
"""Of one operator, so that the others can look, too."""
MOST_OF_A_KEY = 25
"""Of one key, so that one person's tabs do not keep others out."""


class Viewers:
    """Who has a stream of a page open in this process."""

    def __init__(self) -> None:
        self.open: Counter[tuple[OperatorId | None, KeyId]] = Counter()

    def has_room(self, key: OpsKey) -> bool:
        """Whether this key may open one more stream."""
        of_one = sum(count for (operator_id, _), count in self.open.items() if operator_id == key.operator_id)
        own = self.open[key.operator_id, key.id]
        return self.open.total() < MOST_VIEWERS and of_one < MOST_OF_ONE and own < MOST_OF_A_KEY

    async def counted(self, key: OpsKey, stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """Passes a stream on, and counts it until it ends."""
        self.open[key.operator_id, key.id] += 1
        try:
            async with aclosing(stream):
                async for part in stream:
                    yield part
        finally:
            self.open[key.operator_id, key.id] -= 1
            self.open += Counter()  # forgets those that have none open
