"""Opens transactions on PostgreSQL, with written bounds; classifies and retries their errors."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import asyncpg
from sqlalchemy import text

from app.clock import monotonic_s
from app.store.db.connect import (
    SERVER_BOUNDS,
    USUAL_BOUNDS,
    Bounds,
    WritableHost,
    asyncpg_url,
    is_pooled,
)
from app.store.db.connection import Connection
from app.store.db.documents import jsonb_decoder, jsonb_encoder
from app.store.db.pool import Pool, PoolTimeout
from app.store.db.shares import SHARE

DATABASE_ERRORS: tuple[type[Exception], ...] = (
    PoolTimeout,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""What a transaction raises when the database is away, slow or full. Whether it committed is unknown."""


def sqlstate_of(error: BaseException) -> str:
    """PostgreSQL's SQLSTATE of an error, five characters; empty when there is none."""
    return str(getattr(error, "sqlstate", None) or "")


def is_away(error: BaseException) -> bool:
    """Whether the database is unusable for every caller and statement."""
    if isinstance(error, asyncpg.PostgresError):
        return sqlstate_of(error).startswith(AWAY)
    if isinstance(error, asyncpg.InterfaceError):
        return not isinstance(error, ValueError)  # one that is also a ValueError is about a parameter
    # An InternalClientError comes from a connection that the server is just ending.
    return isinstance(error, PoolTimeout | OSError | asyncpg.InternalClientError)


REFUSES = ("53", "25006")
"""SQLSTATEs of refused writes: out of disk, memory or connections; read-only."""
AWAY = (*REFUSES, "08", "57", "28", "3D")
"""These, and connections lost, ended by an operator or a timeout, or refused (user, password, database)."""
ONE_ONLY = (*REFUSES, "57014", "25P03", "57P05")
"""SQLSTATEs of errors after which other connections still work: also a statement or a session that took too long."""
REFUSAL_COUNTS_S = 10.0
"""Seconds for which a process is not ready after a refused write. Then the next write tries again."""
SESSIONS_CHANNEL = "tapwatt_sessions"
DUE_CHANNEL = "tapwatt_due"
EVENTS_CHANNEL = "tapwatt_events"
KEYS_CHANNEL = "tapwatt_keys"
"""Announces the id of an API key that was revoked, removed or changed; a trigger does, whoever changed it."""


class RowLocked(Exception):
    """A row that another transaction keeps locked was waited for long enough."""


LOCK_TIMEOUT = "55P03"


def is_locked(error: BaseException) -> bool:
    """Whether another transaction kept a row locked for too long."""
    return isinstance(error, RowLocked) or sqlstate_of(error) == LOCK_TIMEOUT


def _concerns_all(error: BaseException) -> bool:
    """Whether the pool's other connections are probably useless, too. The server was cut off, died or ended them, or
    the schema was changed."""
    if isinstance(error, TimeoutError | asyncpg.InvalidCachedStatementError):
        return True
    return is_away(error) and not sqlstate_of(error).startswith(ONE_ONLY)


C = TypeVar("C", bound=Connection)


class Database:
    """Opens transactions on a PostgreSQL URL. Of several hosts the writable one is used.

    Raises DatabaseUrlInvalid.
    """

    _refused: tuple[float, str] | None = None

    def __init__(
        self,
        url: str,
        *,
        listen_url: str | None = None,
        pool_size: int = 10,
        urgent_size: int = 2,
        share: int = SHARE,
        bounds: Bounds = USUAL_BOUNDS,
        server_bounds: Mapping[str, str] = SERVER_BOUNDS,
    ) -> None:
        """`listen_url`: where to LISTEN when `url` leads through a pooler."""
        self.host = WritableHost(asyncpg_url(url), bounds=bounds, server_bounds=server_bounds)
        self.listen_host = WritableHost(asyncpg_url(listen_url), bounds=bounds) if listen_url else self.host
        self._pool = Pool(self._connect, size=pool_size, urgent_size=urgent_size, share=share)

    def transaction(
        self, *, urgent: bool = False, lock_ms: int | None = None
    ) -> AbstractAsyncContextManager[Connection]:
        """Opens one transaction: commits at the block's end, rolls back on errors.

        `urgent` ones, which stop charges, also find a connection when all others are in use. `lock_ms`: the longest
        wait for a row that another transaction has locked, instead of SERVER_BOUNDS' one.
        """
        return self._lend(
            lambda raw: Connection(raw, replace=self._pool.replace, lock_ms=lock_ms), urgent=urgent
        )

    def read(self, *, urgent: bool = False) -> AbstractAsyncContextManager[Connection]:
        """A connection for statements that only read. Each is a transaction of its own."""
        return self.single(urgent=urgent)

    def single(self, *, urgent: bool = False) -> AbstractAsyncContextManager[Connection]:
        """Lends a connection on which each statement is its own transaction. For a change that is one statement.

        Through a pooler all of them are one transaction.
        """
        # Through a pooler only a transaction has its bounds.
        return self._lend(
            lambda raw: Connection(raw, begins=is_pooled(raw), replace=self._pool.replace), urgent=urgent
        )

    @asynccontextmanager
    async def _lend(
        self, use: Callable[[asyncpg.Connection], C], *, urgent: bool = False
    ) -> AsyncIterator[C]:
        raw = await self._pool.acquire(urgent=urgent)
        connection = use(raw)
        try:
            yield connection
            await connection.commit()
        except BaseException as error:
            self._note(error)
            await self._take_back(connection, error)
            raise
        self._pool.release(connection.raw)

    async def _take_back(self, connection: Connection, error: BaseException) -> None:
        """Takes back a connection whose block raised."""
        if connection.has_begun:
            await self._pool.roll_back(connection.raw)
            return
        if connection.began and not isinstance(error, asyncpg.PostgresError):
            connection.raw.terminate()  # a read that was cancelled may still be under way
        self._pool.release(connection.raw)

    def _note(self, error: BaseException) -> None:
        if _concerns_all(error):
            self._pool.discard()
        elif sqlstate_of(error).startswith(REFUSES):
            self._refused = (monotonic_s(), type(error).__name__)

    async def _connect(self) -> asyncpg.Connection:
        raw = await self.host.connect()
        try:
            await raw.set_type_codec(
                "jsonb", schema="pg_catalog", format="binary", encoder=jsonb_encoder, decoder=jsonb_decoder
            )
        except BaseException:
            raw.terminate()
            raise
        return raw

    @property
    def refusal(self) -> str | None:
        """Why the server refused writes lately: disk full, or read-only. None: it takes them (F83)."""
        if self._refused is None or monotonic_s() - self._refused[0] > REFUSAL_COUNTS_S:
            return None
        return f"refuses writes ({self._refused[1]})"

    @property
    def connections_in_use(self) -> int:
        """Connections in open transactions; 0 whenever the process is idle (F84)."""
        return self._pool.in_use

    @property
    def is_crowded(self) -> bool:
        """Whether deferrable work should be refused. Too many wait for a connection."""
        return self._pool.is_crowded

    @property
    def serves_others(self) -> bool:
        """Whether other operators than this task's were active in the last second."""
        return self._pool.serves_others

    async def close(self) -> None:
        """Closes unused connections; a later transaction opens one again."""
        await self._pool.close()


_MESSAGE = text(
    "SELECT pg_logical_emit_message(true, 'tapwatt', '')"
    " WHERE current_setting('synchronous_standby_names') <> ''"
)


async def wait_for_standby(connection: Connection) -> None:
    """Makes this commit wait until the standby has what was read (F81). The synchronous standby, and what this
    transaction read.

    A commit waits for a synchronous standby only if it wrote something, and a wait that was cancelled leaves a row that
    is readable and may still be lost. So a response about an earlier write needs a commit that waits.
    """
    await connection.execute(_MESSAGE)


CONFLICTS = frozenset({"40001", "40P01"})
"""serialization_failure and deadlock_detected: the transaction certainly had no effect."""
MAX_TRIES = 3
PAUSE_S = 0.05

P = ParamSpec("P")
T = TypeVar("T")


def retry_on_serialization_failure(
    transaction: Callable[P, Awaitable[T]],
) -> Callable[P, Coroutine[None, None, T]]:
    """Retries a function that is one whole transaction (F85). MAX_TRIES times at most.

    Any other error, above all a lost COMMIT, is raised as it is: its outcome is unknown.
    """

    @wraps(transaction)
    async def tried(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(1, MAX_TRIES):
            try:
                return await transaction(*args, **kwargs)
            except asyncpg.PostgresError as error:
                if sqlstate_of(error) not in CONFLICTS:
                    raise
            # Full jitter: transactions that deadlocked once do not meet again.
            await asyncio.sleep(random.uniform(0, PAUSE_S * 2**attempt))  # noqa: S311
        return await transaction(*args, **kwargs)

    return tried
