"""PostgreSQL as a replica sees it: real, but each transaction is a turn, and its commit may be cut off."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.util import await_only

from app.store.database import Database
from tests.world.blows import BEFORE, FREEZES, LOSSES, Blow, Place
from tests.world.replica import WATCHING, Replica

OPEN = "open transaction of a world"


class _RolledBack(Exception):
    """The blow came before the commit reached the server."""


class OpenTransaction:
    """Gives the turn away once: between what it has read without a lock and the first thing that it locks or writes.

    There others can still go on, whatever it does later: it holds no lock yet. That is where a check and the act that
    rests on it fall apart; from there to the commit nobody comes in between.
    """

    def __init__(self, replica: Replica) -> None:
        self.wrote = False
        self._replica = replica
        self._reads = 0
        self._interrupted = False

    def about_to(self, statement: str) -> None:
        """Runs where SQLAlchemy's synchronous side waits for asyncio."""
        reads = statement.startswith("SELECT") and "FOR UPDATE" not in statement
        if reads:
            self._reads += 1
            return
        if self._reads and not self._interrupted:
            await_only(self._replica.my_turn_within_io())
        self._interrupted = True
        self.wrote = True


def watch(engine: AsyncEngine) -> None:
    """Tell each open transaction of a world what it is about to do; once for an engine."""

    def tell(connection: Connection, _cursor: object, statement: str, *_rest: object) -> None:
        transaction = connection.info.get(OPEN)
        if transaction is not None:
            transaction.about_to(statement.lstrip())

    event.listen(engine.sync_engine, "before_cursor_execute", tell)


class ReplicaDatabase(Database):
    """All replicas share one engine. Nobody ever waits for a row lock here, since whoever holds one has the turn: what
    only truly concurrent transactions show is for the tests with real processes."""

    def __init__(
        self, engine: AsyncEngine, replica: Replica, observe: Callable[[str | None], Awaitable[None]]
    ) -> None:
        self.engine = engine
        self._replica = replica
        self._observe = observe

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        await self._replica.my_turn()
        await self._replica.suffer(self._replica.blow(Place.BEGIN, ""))
        blow = Blow.NONE
        with self._replica.loop.io():
            opened = OpenTransaction(self._replica)
            try:
                async with self.engine.begin() as connection:
                    info = (await connection.get_raw_connection()).info
                    info[OPEN] = opened
                    try:
                        yield connection
                    finally:
                        info.pop(OPEN, None)
                    blow = self._replica.blow(Place.COMMIT, "write" if opened.wrote else "read")
                    if blow in BEFORE:
                        raise _RolledBack
                    if blow is Blow.CANCEL_BEFORE:
                        await self._replica.suffer(blow)
            except _RolledBack:
                pass
            else:
                if opened.wrote:
                    await self._observe(self._replica.name if WATCHING.get() else None)
        if blow is not Blow.CANCEL_BEFORE:
            await self._replica.suffer(blow)
        if blow in LOSSES or (blow in FREEZES and blow in BEFORE):
            raise _lost()  # PostgreSQL ends a transaction that idles for 5 s, so one that froze in it has lost it

    async def close(self) -> None:
        """The engine is the ground's."""


def _lost() -> OperationalError:
    """What the driver raises when the server is gone while COMMIT is under way."""
    cause: Any = ConnectionError("connection was closed in the middle of operation")
    return OperationalError("COMMIT", None, cause)
