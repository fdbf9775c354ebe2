"""PostgreSQL as a replica sees it: real, but each transaction is a turn, and its commit may be cut off."""

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
    """Gives the turn away between what it has read without a lock and the first thing that it locks or writes: where a
    check and the act that rests on it fall apart. From there on it holds locks, and gives the turn away only where the
    world says so; whoever needs one of them then waits for it in PostgreSQL, as in life."""

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
        """After a statement for which others had to go on, since it waited for a lock: only in turn again."""
        if self._let_pass != self._replica.loop.let_pass:
            await_only(self._replica.my_turn_with_locks(self._ticket))

    @asynccontextmanager
    async def on(self, connection: AsyncConnection) -> AsyncIterator[None]:
        """Follow what `connection` does until it is about to commit."""
        info = (await connection.get_raw_connection()).info
        info[OPEN] = self
        try:
            yield
            if self.wrote:
                await self._with_locks()
        finally:
            info.pop(OPEN, None)

    async def _with_locks(self) -> None:
        """Others may go on here, and wait for what this transaction has locked."""
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
    """Tell each open transaction of a world what it is about to do; once for an engine."""

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
        """The engine is the ground's."""


@contextmanager
def _as_in_life() -> Iterator[None]:
    """A transaction that the server has ended looks to us as the driver would show it."""
    try:
        yield
    except ConnectionError as error:
        raise _lost() from error


def _lost() -> OperationalError:
    """What the driver raises when the server is gone while COMMIT is under way."""
    cause: Any = ConnectionError("connection was closed in the middle of operation")
    return OperationalError("COMMIT", None, cause)
