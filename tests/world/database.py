"""PostgreSQL as a replica sees it: real, but each transaction waits for its turn, and its commit may be lost."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.util import await_only

from app.store.db.database import Database
from tests.world.fault_injector import BEFORE, FREEZES, LOSSES, Place, ReplicaFault
from tests.world.replica import WATCHING, Replica

OPEN = "open transaction of a world"


class _RolledBack(Exception):
    """The fault came before the commit reached the server."""


class OpenTransaction:
    """Yields the turn between an unlocked read and the first lock or write, where a check and the action based on
    it can race. From there on it holds locks, and yields only where the fault injector says so; a replica that
    needs one of them then waits in PostgreSQL."""

    def __init__(self, replica: Replica) -> None:
        self.wrote = False
        self._replica = replica
        self._reads = 0
        self._interrupted = False
        self._ticket = 0
        self._let_pass = 0

    def about_to(self, statement: str) -> None:
        """Runs where SQLAlchemy's synchronous side waits for asyncio."""
        self._interrupt(statement)
        self._ticket, self._let_pass = self._replica.ticket(), self._replica.loop.let_pass

    def done(self) -> None:
        """After a statement during which others went on, since it waited for a lock: waits for its turn again."""
        if self._let_pass != self._replica.loop.let_pass:
            await_only(self._replica.my_turn_with_locks(self._ticket))

    @asynccontextmanager
    async def on(self, connection: AsyncConnection) -> AsyncIterator[None]:
        """Follows what `connection` does until it is about to commit."""
        info = (await connection.get_raw_connection()).info
        info[OPEN] = self
        try:
            yield
            if self.wrote:
                await self._with_locks()
        finally:
            info.pop(OPEN, None)

    async def _with_locks(self) -> None:
        """Lets others go on here, who may wait for the locks of this transaction."""
        seconds = self._replica.keeps_locks_for_s()
        if seconds is not None:
            await self._replica.my_turn_with_locks(after_s=seconds)

    def _interrupt(self, statement: str) -> None:
        if self.wrote:
            await_only(self._with_locks())
            return
        reads = statement.startswith("SELECT") and "FOR UPDATE" not in statement
        if reads:
            self._reads += 1
            return
        if self._reads and not self._interrupted:
            await_only(self._replica.my_turn_within_io())
        self._interrupted = True
        self.wrote = True


def watch(engine: AsyncEngine) -> None:
    """Announces each statement to its open transaction before it runs; once for an engine."""

    def tell(connection: Connection, _cursor: object, statement: str, *_rest: object) -> None:
        transaction = connection.info.get(OPEN)
        if transaction is not None:
            transaction.about_to(statement.lstrip())

    def tell_done(connection: Connection, *_rest: object) -> None:
        transaction = connection.info.get(OPEN)
        if transaction is not None:
            transaction.done()

    event.listen(engine.sync_engine, "before_cursor_execute", tell)
    event.listen(engine.sync_engine, "after_cursor_execute", tell_done)


class ReplicaDatabase(Database):
    """All replicas share one engine."""

    def __init__(
        self, engine: AsyncEngine, replica: Replica, observe: Callable[[str | None], Awaitable[None]]
    ) -> None:
        self.engine = engine
        self._replica = replica
        self._observe = observe

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        await self._replica.my_turn()
        await self._replica.suffer(self._replica.fault(Place.BEGIN, ""))
        fault = ReplicaFault.NONE
        with self._replica.loop.io(), _as_in_life():
            opened = OpenTransaction(self._replica)
            try:
                async with self.engine.begin() as connection:
                    async with opened.on(connection):
                        yield connection
                    fault = self._replica.fault(Place.COMMIT, "write" if opened.wrote else "read")
                    if fault in BEFORE:
                        raise _RolledBack
                    if fault is ReplicaFault.CANCEL_BEFORE:
                        await self._replica.suffer(fault)
            except _RolledBack:
                pass
            else:
                if opened.wrote:
                    await self._observe(self._replica.name if WATCHING.get() else None)
        if fault is not ReplicaFault.CANCEL_BEFORE:
            await self._replica.suffer(fault)
        if fault in LOSSES or (fault in FREEZES and fault in BEFORE):
            raise _lost()  # PostgreSQL ends a transaction that idles for 5 s, so one that froze in it has lost it

    async def close(self) -> None:
        """The engine belongs to the environment."""


@contextmanager
def _as_in_life() -> Iterator[None]:
    """Makes a transaction that the server has ended raise what the driver would raise."""
    try:
        yield
    except ConnectionError as error:
        raise _lost() from error


def _lost() -> OperationalError:
    """What the driver raises when the server is gone while COMMIT is under way."""
    cause: Any = ConnectionError("connection was closed in the middle of operation")
    return OperationalError("COMMIT", None, cause)
