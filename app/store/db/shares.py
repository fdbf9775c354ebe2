"""Shares a pool's connections between operators, each within bounds, those who wait by turns."""

import asyncio
from collections import deque
from dataclasses import dataclass

from app.clock import monotonic_s
from app.store.db.scope import EVERY, NONE

SHARE = 2
"""Connections that an operator uses at once while others are active. Two keep a CPU and the database busy; more only
lengthen everyone's waits."""
YOUNG_S = 0.05
"""A connection lent for longer does not count against the share: a slow report must not block its operator's calls."""
ACTIVE_S = 1.0
"""An operator that asked for a connection within this time is active."""


@dataclass(slots=True, eq=False)
class Lent:
    """One connection's use: by whom, since when (monotonic)."""

    scope: str
    since_s: float
    urgent: bool


@dataclass(slots=True, eq=False)
class Waiting:
    """Who waits for a connection; `turn` is done once it is granted."""

    lent: Lent
    turn: asyncio.Future[None]


class Shares:
    """Who uses connections and who waits for one, by scope. Work for no single operator has no share of its own."""

    def __init__(self, most: int, share: int = SHARE) -> None:
        """`most`: connections that all together may use."""
        self._share = share
        self._most_of_one = max(share, most // 2)
        self._lent: dict[str, set[Lent]] = {}
        self._queues: dict[str, deque[Waiting]] = {}
        """By scope; the first one's turn is next."""
        self._active = [("", float("-inf"))] * 2
        """The two operators that asked for a connection last, and when."""

    @property
    def is_waited_for(self) -> bool:
        return bool(self._queues)

    def is_waiting(self, scope: str) -> bool:
        """Whether others of this scope wait already."""
        return scope in self._queues

    def ahead_of(self, scope: str) -> int:
        """How many are served before one more that would wait in this scope."""
        own = len(self._queues.get(scope, ())) + 1
        return sum(min(len(queue), own) for queue in self._queues.values())

    def begin(self, lent: Lent) -> None:
        lent.since_s = monotonic_s()
        self._lent.setdefault(lent.scope, set()).add(lent)
        self._note(lent.scope, lent.since_s)

    def end(self, lent: Lent) -> None:
        self._lent[lent.scope].discard(lent)
        if not self._lent[lent.scope]:
            del self._lent[lent.scope]

    def is_spent(self, scope: str) -> bool:
        """Whether an operator must wait, since others are active and it uses its share."""
        lent = self._lent.get(scope)
        if lent is None or len(lent) < self._share or scope in (EVERY, NONE) or not self.serves_others(scope):
            return False
        now_s = monotonic_s()
        return (
            len(lent) >= self._most_of_one
            or sum(now_s - each.since_s < YOUNG_S for each in lent) >= self._share
        )

    def serves_others(self, scope: str) -> bool:
        """Whether another operator asked for a connection within ACTIVE_S."""
        _, last_s = self._active[self._active[0][0] == scope]
        return monotonic_s() - last_s <= ACTIVE_S

    def _note(self, scope: str, now_s: float) -> None:
        if scope in (EVERY, NONE):
            return
        if self._active[0][0] != scope:
            self._active[1] = self._active[0]
        self._active[0] = (scope, now_s)

    def wait(self, waiting: Waiting) -> None:
        self._note(waiting.lent.scope, monotonic_s())
        self._queues.setdefault(waiting.lent.scope, deque()).append(waiting)

    def leave(self, waiting: Waiting) -> None:
        """Removes one that does not wait any longer, if it still does."""
        queue = self._queues.get(waiting.lent.scope)
        if queue is not None and waiting in queue:
            queue.remove(waiting)
            if not queue:
                del self._queues[waiting.lent.scope]

    def next(self) -> Waiting | None:
        """Takes out who is next: scopes by turns, in each the one who waits longest. None: all must wait on."""
        for scope, queue in self._queues.items():
            if not self.is_spent(scope):
                del self._queues[scope]
                waiting = queue.popleft()
                if queue:
                    self._queues[scope] = queue
                return waiting
        return None
