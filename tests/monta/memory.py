"""The ports of app.monta in memory: the reference of their contracts, for one process."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from app.domain.units.ids import OperatorId
from app.monta.ports import Purpose, QuotaSeen, Token

RESERVED_PER_CENT = {Purpose.STOP: 0, Purpose.START: 10, Purpose.SWEEP: 20, Purpose.READ: 30}
"""What a purpose leaves for higher ones; stops are granted even when nothing is left."""

SAME_WINDOW = timedelta(seconds=5)
"""Window ends closer together than this belong to one window, in which the lower count is right: calls are under
way."""


class MemoryTokenStore:
    """Keeps pairs and renewal leases in dictionaries; `loads` and `saves` count the calls."""

    def __init__(self) -> None:
        self.pairs: dict[OperatorId, Token] = {}
        self.leads: dict[OperatorId, datetime] = {}
        self.saves = 0
        self.loads = 0

    async def load(self, operator: OperatorId) -> Token | None:
        self.loads += 1
        await asyncio.sleep(0)  # as a database, let others in between two statements
        return self.pairs.get(operator)

    async def lease_renewal(self, operator: OperatorId, version: int, until: datetime, now: datetime) -> bool:
        await asyncio.sleep(0)
        pair = self.pairs.get(operator)
        if (pair.version if pair else 0) != version or self.leads.get(operator, now) > now:
            return False
        self.leads[operator] = until
        return True

    async def save(self, operator: OperatorId, token: Token) -> Token:
        await asyncio.sleep(0)
        pair = self.pairs.get(operator)
        kept = replace(token, version=(pair.version if pair else 0) + 1)
        self.pairs[operator] = kept
        self.leads.pop(operator, None)
        self.saves += 1
        return kept


@dataclass
class Window:
    """One fixed window of one credential."""

    limit: int = 1000
    length_s: int = 600
    left: int = 1000
    ends_at: datetime | None = None
    blocked_until: datetime | None = None
    stops_blocked_until: datetime | None = None


@dataclass
class MemoryBudget:
    """Counts in fixed windows, as Monta does; `taken` lists what was granted, `observed` what Monta said."""

    windows: dict[OperatorId, Window] = field(default_factory=dict)
    taken: list[Purpose] = field(default_factory=list)
    observed: list[QuotaSeen] = field(default_factory=list)

    async def take(self, operator: OperatorId, purpose: Purpose, now: datetime) -> datetime | None:
        await asyncio.sleep(0)
        window = self._current(operator, now)
        block = window.stops_blocked_until if purpose is Purpose.STOP else window.blocked_until
        if block is not None and block > now:
            return block
        if purpose is not Purpose.STOP and window.left * 100 <= RESERVED_PER_CENT[purpose] * window.limit:
            return window.ends_at
        window.left = max(0, window.left - 1)
        self.taken.append(purpose)
        return None

    async def observe(self, operator: OperatorId, seen: QuotaSeen, now: datetime) -> None:
        self.observed.append(seen)
        window = self._current(operator, now)
        assert window.ends_at is not None
        window_limit = window.limit
        window.limit = seen.limit or window.limit
        window.length_s = seen.window_s or window.length_s
        ends_at = window.ends_at if seen.resets_in_s is None else now + timedelta(seconds=seen.resets_in_s)
        if seen.remaining is not None:
            is_new = abs(ends_at - window.ends_at) > SAME_WINDOW or seen.limit != window_limit
            window.left = seen.remaining if is_new else min(window.left, seen.remaining)
        window.ends_at = ends_at

    async def agreed(self, operator: OperatorId, limit: int, window_s: int) -> None:
        if self.observed:
            return
        window = self.windows.setdefault(operator, Window())
        window.left = max(0, window.left + limit - window.limit)
        window.limit, window.length_s = limit, window_s

    async def block(self, operator: OperatorId, until: datetime, purpose: Purpose) -> None:
        window = self.windows.setdefault(operator, Window())
        window.blocked_until = max(until, window.blocked_until or until)
        if purpose is Purpose.STOP:
            window.stops_blocked_until = max(until, window.stops_blocked_until or until)

    def _current(self, operator: OperatorId, now: datetime) -> Window:
        window = self.windows.setdefault(operator, Window())
        if window.ends_at is None or window.ends_at <= now:
            window.ends_at = now + timedelta(seconds=window.length_s)
            window.left = window.limit
        return window
