"""PostgreSQL as a replica sees it: real, but each transaction waits for its turn, and its commit may be lost."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

import asyncpg

from app.store.db.connection import Connection, Result
from app.store.db.database import Database
from app.store.db.statements import Statement
from tests.world.cores import use_our_cores
from tests.world.fault_injector import BEFORE, FREEZES, LOSSES, Place, ReplicaFault
from tests.world.ledger import LOOKED_AT
from tests.world.replica import WATCHING, Replica


class _RolledBack(Exception):
    """The fault came before the commit reached the server."""


class OpenTransaction(Connection):
    """Yields the turn between an unlocked read and the first lock or write, where a check and the action based on
    it can race. From there on it holds locks, and yields only where the fault injector says so; a replica that
    needs one of them then waits in PostgreSQL."""

    def __init__(self, raw: asyncpg.Connection, replica: Replica, *, begins: bool) -> None:
        super().__init__(raw, begins=begins)
        self.wrote = False
        self.changed = False
        """Whether some row was written, and not only looked for."""
        self.shows = False
        """Whether such a row is one that the rules look at after each commit."""
        self._replica = replica
        self._reads = 0
        self._interrupted = False

    async def send(self, statement: Statement, values: list[list[Any]], *, many: bool) -> Result:
        await self._interrupt(statement.sql.lstrip())
        ticket, let_pass = self._replica.ticket(), self._replica.loop.let_pass
        result = await super().send(statement, values, many=many)
        if self.wrote and (many or result.rowcount > 0):
            self.changed = True
            self.shows = self.shows or any(table in statement.sql for table in LOOKED_AT)
        if let_pass != self._replica.loop.let_pass:
            # Others went on, since it waited for a lock.
            await self._replica.my_turn_with_locks(ticket)
        return result

    async def before_commit(self) -> None:
        if self.wrote:
            await self._with_locks()

    async def _with_locks(self) -> None:
        """Lets others go on here, who may wait for the locks of this transaction."""
        seconds = self._replica.keeps_locks_for_s()
        if seconds is not None:
            await self._replica.my_turn_with_locks(after_s=seconds)

    async def _interrupt(self, statement: str) -> None:
        if self.wrote:
            await self._with_locks()
            return
        reads = statement.startswith("SELECT") and "FOR UPDATE" not in statement
        if reads:
            self._reads += 1
            return
        if self._reads and not self._interrupted:
            await self._replica.my_turn_within_io()
        self._interrupted = True
        self.wrote = True


class WorldDatabase(Database):
    """The connections that all replicas share; `follow` makes what a transaction uses of one."""

    def followed(
        self, follow: Callable[[asyncpg.Connection], OpenTransaction]
    ) -> AbstractAsyncContextManager[OpenTransaction]:
        return self._lend(follow)

    async def _connect(self) -> asyncpg.Connection:
        raw = await super()._connect()
        use_our_cores(raw)
        return raw


class ReplicaDatabase(Database):
    """One replica's view of the shared connections."""

    def __init__(
        self, shared: WorldDatabase, replica: Replica, observe: Callable[[str | None, bool], Awaitable[None]]
    ) -> None:
        self._shared = shared
        self._replica = replica
        self._observe = observe

    def read(self, *, urgent: bool = False) -> AbstractAsyncContextManager[Connection]:
        return self._open(begins=False)

    def transaction(
        self, *, urgent: bool = False, lock_ms: int | None = None
    ) -> AbstractAsyncContextManager[Connection]:
        return self._open(begins=True)

    def single(self, *, urgent: bool = False) -> AbstractAsyncContextManager[Connection]:
        return self.transaction()

    @asynccontextmanager
    async def _open(self, *, begins: bool) -> AsyncIterator[Connection]:
        await self._replica.my_turn()
        self._replica.about_to_claim &= not WATCHING.get()
        await self._replica.suffer(self._replica.fault(Place.BEGIN, ""))
        fault = ReplicaFault.NONE
        with self._replica.loop.io(), _as_in_life():
            try:
                async with self._shared.followed(
                    lambda raw: OpenTransaction(raw, self._replica, begins=begins)
                ) as opened:
                    yield opened
                    await opened.before_commit()
                    fault = self._replica.fault(Place.COMMIT, "write" if opened.wrote else "read")
                    if fault in BEFORE:
                        raise _RolledBack
                    if fault is ReplicaFault.CANCEL_BEFORE:
                        await self._replica.suffer(fault)
            except _RolledBack:
                pass
            else:
                if opened.changed:
                    await self._observe(self._replica.name if WATCHING.get() else None, opened.shows)
        if fault is not ReplicaFault.CANCEL_BEFORE:
            await self._replica.suffer(fault)
        if fault in LOSSES or (fault in FREEZES and fault in BEFORE):
            raise _lost()  # PostgreSQL ends a transaction that idles for 5 s, so one that froze in it has lost it

    @property
    def is_crowded(self) -> bool:
        return False

    @property
    def serves_others(self) -> bool:
        return False

    async def close(self) -> None:
        """The connections belong to the environment."""


@contextmanager
def _as_in_life() -> Iterator[None]:
    """Makes a transaction that the server has ended raise what the driver would raise."""
    try:
        yield
    except ConnectionError as error:
        raise _lost() from error


def _lost() -> asyncpg.PostgresConnectionError:
    """What the driver raises when the server is gone while COMMIT is under way."""
    return asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
