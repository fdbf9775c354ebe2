"""Limits how often callers may call. By token buckets of this process, a terminal, operator, address and new hold each.

Several replicas add up: behind a balancer that spreads calls evenly, each caller has that many times the limit.
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable

from app.api.http.problems import Problem
from app.domain.units.frozen import frozen

MOST_BUCKETS = 20_000
"""Buckets of one kind; the one that was used longest ago is forgotten, which fills it."""
AT_ONCE = 1 / 4
"""The share of a minute's calls that may come at once."""
HOLD_BACK_S = 1.0
"""How long a refusal is held back, so that a caller that ignores it sends once a second on each connection."""
MOST_HELD_BACK = 1000
"""Refusals that are held back at once; further ones are answered at once."""
APART_S = 0.004
"""Pause between two refusals that were held back: many that came together are not answered together, and do not come
together again."""


@frozen(kw_only=True)
class Quotas:
    """Calls a minute for each kind of caller. After a pause those of AT_ONCE may come at once. Defaults are those of
    docs/settings.md."""

    calls: int = 1_200
    """Of one terminal or operations key. Stops have as many of their own."""
    operator_calls: int = 60_000
    """Of all terminals and keys of one operator, stops not counted."""
    new_holds: int = 120
    """Authorizations and top-ups of one terminal, repetitions counted."""
    failed_keys: int = 60
    """Calls without a valid key, and webhooks without a valid signature, of one address."""


class Buckets:
    """One token bucket for each name; `now_s` is monotonic time."""

    def __init__(self, per_minute: int, most: int = MOST_BUCKETS) -> None:
        self._per_s = per_minute / 60
        self._full = max(1.0, per_minute * AT_ONCE)
        self._most = most
        self._known: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Tokens left, and when."""

    def __len__(self) -> int:
        return len(self._known)

    def take(self, name: str, now_s: float) -> float:
        """Takes one token. Returns 0, or the seconds until there is one again."""
        left, at_s = self._known.pop(name, (self._full, now_s))
        left = min(self._full, left + max(0.0, now_s - at_s) * self._per_s)
        wait_s = 0.0 if left >= 1 else (1 - left) / self._per_s
        self._known[name] = (left if wait_s else left - 1, now_s)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return wait_s


class RateLimits:
    """The buckets of one process."""

    def __init__(self, quotas: Quotas, hold_back_s: float = HOLD_BACK_S) -> None:
        self._calls = Buckets(quotas.calls)
        self._stops = Buckets(quotas.calls)
        self._operators = Buckets(quotas.operator_calls)
        self._holds = Buckets(quotas.new_holds)
        self._failures = Buckets(quotas.failed_keys)
        self._hold_back_s = hold_back_s
        self._held_back = 0
        self._answered_s = float("-inf")
        """When the last refusal that is held back will be answered (the loop's time)."""

    async def call(
        self, caller: str, operator: str | None, now_s: float, *, stops: bool, holds: bool
    ) -> None:
        """Counts a call with a valid key. Raises Problem `too_many_requests`, a moment later."""
        limit, wait_s = "CALLS", (self._stops if stops else self._calls).take(caller, now_s)
        if not stops and not wait_s and holds:
            limit, wait_s = "NEW_HOLDS", self._holds.take(caller, now_s)
        if not stops and not wait_s and operator is not None:
            limit, wait_s = "OPERATOR_CALLS", self._operators.take(operator, now_s)
        if wait_s:
            await self.hold_back()
            raise too_many(wait_s, limit)

    async def failure(self, address: str | None, now_s: float) -> float:
        """Counts a call without a valid key or signature. Returns 0, or, a moment later, the seconds to wait."""
        wait_s = self._failures.take(address or "", now_s)
        if wait_s:
            await self.hold_back()
        return wait_s

    async def held_back(self, work: Awaitable[None], refusal: type[Exception]) -> None:
        """Awaits work. Its refusal is answered a moment later."""
        try:
            await work
        except refusal:
            await self.hold_back()
            raise

    async def hold_back(self) -> None:
        """Waits before a refusal is answered, for HOLD_BACK_S or, where many are held back, for longer."""
        if self._held_back >= MOST_HELD_BACK:
            return
        self._held_back += 1
        now_s = asyncio.get_running_loop().time()
        self._answered_s = max(now_s + self._hold_back_s, self._answered_s + APART_S)
        try:
            await asyncio.sleep(self._answered_s - now_s)
        finally:
            self._held_back -= 1


def too_many(wait_s: float, limit: str = "FAILED_KEYS") -> Problem:
    """The refusal, with the seconds after which the call may come again. `limit`: of which setting."""
    return Problem(
        "too_many_requests",
        f"A limit of calls a minute is reached (TAPWATT_{limit}_PER_MINUTE); wait as Retry-After says.",
        headers={"Retry-After": str(max(1, math.ceil(wait_s)))},
    )
