"""Keeps a bounded number of connections open, with an urgent reserve, shared by operators."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

import asyncpg

from app.store.db import scope
from app.store.db.shares import SHARE, YOUNG_S, Lent, Shares, Waiting

POOL_TIMEOUT_S = 5
ROLLBACK_S = 2.0
"""Timeout of a rollback, after which the connection is closed instead."""
CLOSE_S = 2.0
UNUSED_S = 60.0
"""After which a connection beyond the size of the pool is closed, at the next release."""
CROWDED = 100
"""Served before one more call that would wait, about a tenth of a second: then what can be put off is refused."""


class PoolTimeout(Exception):
    """No connection became free within POOL_TIMEOUT_S."""


class Pool:
    """Lends idle connections, the last used first, or opens one.

    Twice `size` are used at once, and urgent work may use `urgent_size` more. `share`: how many an operator uses at
    once while others are active. `size` of them stay open, the others for UNUSED_S after their last use: a new one
    costs PostgreSQL as much as fifty reads.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[asyncpg.Connection]],
        *,
        size: int,
        urgent_size: int,
        share: int = SHARE,
    ) -> None:
        self._connect = connect
        self._size = size
        self._most = {False: 2 * size, True: 2 * size + urgent_size}
        self._idle: dict[asyncpg.Connection, float] = {}
        """When each was released, the one released last at the end."""
        self._used: dict[asyncpg.Connection, Lent] = {}
        self._outdated: set[asyncpg.Connection] = set()
        """Used ones that are closed when they are released."""
        self._taken = 0
        self._shares = Shares(self._most[False], share)
        self._urgent: deque[Waiting] = deque()
        self._looks_again: asyncio.TimerHandle | None = None
        self._rollbacks: set[asyncio.Task[None]] = set()

    @property
    def in_use(self) -> int:
        """Connections that are lent, or being opened or rolled back."""
        return self._taken

    @property
    def is_crowded(self) -> bool:
        """Whether many would be served before one more call for this operator."""
        return self._shares.ahead_of(scope.current()) >= CROWDED

    @property
    def serves_others(self) -> bool:
        """Whether other operators than this task's were active lately."""
        return self._shares.serves_others(scope.current())

    async def acquire(self, *, urgent: bool = False) -> asyncpg.Connection:
        """Lends a connection. Raises PoolTimeout, or what opening one raises."""
        lent = await self._take_turn(urgent)
        try:
            raw = self._open_one() or await self._connect()
        except BaseException:
            self._end_turn(lent)
            raise
        self._used[raw] = lent
        return raw

    def release(self, raw: asyncpg.Connection) -> None:
        """Takes a connection back. One that is broken, in a transaction or not needed is closed."""
        lent = self._used.pop(raw)
        unfit = raw in self._outdated or raw.is_closed() or raw.is_in_transaction()
        self._outdated.discard(raw)
        if unfit:
            raw.terminate()
        else:
            self._keep(raw)
        self._end_turn(lent)

    async def replace(self, raw: asyncpg.Connection) -> asyncpg.Connection:
        """Replaces a connection that the server has closed. Closes the idle ones, too."""
        raw.terminate()
        self.discard()
        new = await self._connect()
        self._used[new] = self._used.pop(raw)
        self._outdated.discard(raw)
        return new

    async def roll_back(self, raw: asyncpg.Connection) -> None:
        """Rolls back and takes the connection back, even when cancelled."""
        work = asyncio.create_task(self._roll_back(raw))
        self._rollbacks.add(work)
        work.add_done_callback(self._rollbacks.discard)
        await asyncio.shield(work)

    def discard(self) -> None:
        """Closes every connection without a word to the server. Those in use when they are released."""
        for raw in self._idle:
            raw.terminate()
        self._idle.clear()
        self._outdated |= self._used.keys()

    async def close(self) -> None:
        """Closes idle connections, and those in use when they are released. The pool remains usable."""
        if self._rollbacks:
            await asyncio.wait(self._rollbacks)
        self._outdated |= self._used.keys()
        idle, self._idle = self._idle, {}
        await asyncio.gather(*(raw.close(timeout=CLOSE_S) for raw in idle), return_exceptions=True)

    def _keep(self, raw: asyncpg.Connection) -> None:
        """Keeps a connection open, and closes one that was unused for long."""
        now_s = asyncio.get_running_loop().time()
        self._idle[raw] = now_s
        oldest, since_s = next(iter(self._idle.items()))
        if len(self._idle) > self._size and now_s - since_s >= UNUSED_S:
            del self._idle[oldest]
            oldest.terminate()

    def _open_one(self) -> asyncpg.Connection | None:
        """Takes an idle connection, if possible with the same scope. One that sees the same operator's rows already."""
        for raw in [raw for raw in self._idle if raw.is_closed()]:
            del self._idle[raw]
        wanted = scope.current()
        raw = next((raw for raw in reversed(self._idle) if raw.scope == wanted), None)
        raw = next(reversed(self._idle), None) if raw is None else raw
        if raw is not None:
            del self._idle[raw]
        return raw

    async def _roll_back(self, raw: asyncpg.Connection) -> None:
        try:
            if not raw.is_closed():
                async with asyncio.timeout(ROLLBACK_S):
                    await raw.execute("ROLLBACK;")
        except Exception:
            raw.terminate()
        except BaseException:
            raw.terminate()
            raise
        finally:
            self.release(raw)

    def _is_free(self, urgent: bool) -> bool:
        return self._taken < self._most[urgent]

    async def _take_turn(self, urgent: bool) -> Lent:
        lent = Lent(scope.current(), 0.0, urgent)
        if urgent:
            must_wait = bool(self._urgent) or not self._is_free(urgent)
        else:
            must_wait = not self._is_free(urgent) or self._shares.is_waiting(lent.scope)
            must_wait = must_wait or self._shares.is_spent(lent.scope)
        if not must_wait:
            self._begin(lent)
            return lent
        waiting = Waiting(lent, asyncio.get_running_loop().create_future())
        self._wait(waiting)
        try:
            async with asyncio.timeout(POOL_TIMEOUT_S):
                await waiting.turn
        except BaseException as error:
            self._leave(waiting)
            if waiting.turn.done() and not waiting.turn.cancelled():  # it was granted in the same moment
                self._end_turn(lent)
            if isinstance(error, TimeoutError):
                raise PoolTimeout("all connections of this process are in use") from None
            raise
        return lent

    def _begin(self, lent: Lent) -> None:
        self._taken += 1
        if not lent.urgent:
            self._shares.begin(lent)

    def _end_turn(self, lent: Lent) -> None:
        """Frees a place and grants it to whoever waits, urgent work first."""
        self._taken -= 1
        if not lent.urgent:
            self._shares.end(lent)
        self._grant()

    def _wait(self, waiting: Waiting) -> None:
        if waiting.lent.urgent:
            self._urgent.append(waiting)
        else:
            self._shares.wait(waiting)
            self._look_again()

    def _leave(self, waiting: Waiting) -> None:
        if waiting.lent.urgent:
            with suppress(ValueError):
                self._urgent.remove(waiting)
        else:
            self._shares.leave(waiting)

    def _grant(self) -> None:
        while self._urgent and self._is_free(True):
            self._give(self._urgent.popleft())
        while self._is_free(False) and (waiting := self._shares.next()) is not None:
            self._give(waiting)

    def _give(self, waiting: Waiting) -> None:
        if not waiting.turn.done():
            self._begin(waiting.lent)
            waiting.turn.set_result(None)

    def _look_again(self) -> None:
        """Grants again once connections in use do not count as young any more."""
        if self._looks_again is None:
            self._looks_again = asyncio.get_running_loop().call_later(YOUNG_S, self._on_time)

    def _on_time(self) -> None:
        self._looks_again = None
        self._grant()
        if self._shares.is_waited_for:
            self._look_again()
