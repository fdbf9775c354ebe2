"""The database engine: short transactions with written bounds, retries, notifications."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial, wraps
from typing import Any, ParamSpec, TypeAlias, TypeVar

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util import await_only

from app.clock import monotonic_s
from app.store.db.connect import UNPREPARED, USUAL_BOUNDS, Bounds, WritableHost, asyncpg_url, is_pooled
from app.store.db.documents import RawJson

Connection: TypeAlias = AsyncConnection
"""An open transaction, passed through by layers that do not use it themselves."""

DATABASE_ERRORS: tuple[type[Exception], ...] = (
    DBAPIError,
    PoolTimeout,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    OSError,
    TimeoutError,
)
"""What a transaction raises when the database is away, slow or full; whether it committed is unknown."""


def sqlstate_of(error: DBAPIError) -> str:
    """PostgreSQL's SQLSTATE of an error, five characters; empty when there is none."""
    return str(getattr(error.orig, "sqlstate", None) or "")


def is_away(error: BaseException) -> bool:
    """Whether the database is unreachable or unusable for every caller, whatever the statement."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or sqlstate_of(error).startswith(AWAY)
    return isinstance(error, PoolTimeout | OSError | asyncpg.PostgresError | asyncpg.InterfaceError)


REFUSES = ("53", "25006")
"""SQLSTATEs of refused writes: out of disk, memory or connections; read-only."""
AWAY = (*REFUSES, "08", "57")
"""These, and connections lost, or ended by an operator or a timeout."""
REFUSAL_COUNTS_S = 10.0
"""Seconds for which a process is not ready after a refused write; then the next write tries again."""
POOL_TIMEOUT_S = 5
SESSIONS_CHANNEL = "tapwatt_sessions"
DUE_CHANNEL = "tapwatt_due"


def engine_on(host: WritableHost, **options: Any) -> AsyncEngine:
    """An engine whose connections `host` opens; through a pooler statements stay unprepared."""

    def open_one() -> DBAPIConnection:
        connection = await_only(host.connect())

        async def opened() -> asyncpg.Connection:
            return connection

        how = UNPREPARED if is_pooled(connection) else {}
        dbapi: Any = engine.dialect.dbapi
        made: DBAPIConnection = dbapi.connect(async_creator_fn=opened, **how)
        return made

    engine = create_async_engine(host.url, creator=open_one, hide_parameters=True, **options)
    return engine


class Database:
    """Opens transactions on a PostgreSQL URL; of several hosts the writable one is used.

    Raises DatabaseUrlInvalid.
    """

    _refused: tuple[float, str] | None = None

    def __init__(
        self,
        url: str,
        *,
        listen_url: str | None = None,
        pool_size: int = 10,
        bounds: Bounds = USUAL_BOUNDS,
    ) -> None:
        """`listen_url`: where to LISTEN when `url` leads through a pooler."""
        self.host = WritableHost(asyncpg_url(url), bounds=bounds)
        self.listen_host = WritableHost(asyncpg_url(listen_url), bounds=bounds) if listen_url else self.host
        self.engine: AsyncEngine = engine_on(
            self.host,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=POOL_TIMEOUT_S,
            json_serializer=to_json,
            json_deserializer=partial(json.loads, parse_float=Decimal),
        )
        event.listen(self.engine.sync_engine, "checkout", _refuse_closed)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """One transaction: committed at the end of the block, rolled back when it raises."""
        try:
            async with self.engine.begin() as connection:
                yield connection
        except TimeoutError:
            # The server was cut off or died without a word: every pooled connection leads to it.
            await self.engine.dispose()
            raise
        except DBAPIError as error:
            if sqlstate_of(error).startswith(REFUSES):
                self._refused = (monotonic_s(), type(error.orig).__name__)
            raise

    @property
    def refusal(self) -> str | None:
        """Why the server refused writes lately: disk full, or read-only; None: it takes them (F83)."""
        if self._refused is None or monotonic_s() - self._refused[0] > REFUSAL_COUNTS_S:
            return None
        return f"refuses writes ({self._refused[1]})"

    @property
    def connections_in_use(self) -> int:
        """Connections in open transactions; 0 whenever the process is idle (F84)."""
        pool = self.engine.pool
        assert isinstance(pool, AsyncAdaptedQueuePool)
        return pool.checkedout()

    async def close(self) -> None:
        await self.engine.dispose()


def _refuse_closed(held: DBAPIConnection, *_: object) -> None:
    """Makes the pool replace a connection that the server has closed. The pool's own `pre_ping` before every
    transaction would find hardly more and costs three round trips."""
    driver = held.driver_connection
    if isinstance(driver, asyncpg.Connection) and driver.is_closed():
        raise DisconnectionError("the server closed this connection")


def is_json(value: object) -> bool:
    """Whether `to_json` can write it and jsonb accept it: no NaN, no NUL characters, no lone surrogates."""
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and is_json(k) and is_json(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(map(is_json, value))
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= c <= "\udfff" for c in value)
    return value is None or isinstance(value, int) or (isinstance(value, Decimal) and value.is_finite())


def to_json(value: object) -> str:
    """Encodes JSON for jsonb; a Decimal becomes a number where that is exact, else text. RawJson stays as it is."""
    if isinstance(value, RawJson):
        return value
    return json.dumps(value, default=_decimal, separators=(",", ":"), allow_nan=False)


def _decimal(value: object) -> float | str:
    if not isinstance(value, Decimal):
        raise TypeError(f"{type(value).__name__} has no JSON form here")
    number = float(value)
    return number if Decimal(repr(number)) == value else str(value)


async def notify(connection: AsyncConnection, channel: str, payload: str = "") -> None:
    """Notifies listeners when this transaction commits. A lost notification only costs time, since all listeners also
    poll."""
    await connection.execute(
        text("SELECT pg_notify(:channel, :payload)"), {"channel": channel, "payload": payload}
    )


async def wait_for_standby(connection: AsyncConnection) -> None:
    """Makes this commit wait until the synchronous standby has what this transaction read (F81).

    A commit waits for a synchronous standby only if it wrote something, and a wait that was cancelled leaves a row that
    is readable and may still be lost. So a response about an earlier write needs a commit that waits.
    """
    await connection.execute(
        text(
            "SELECT pg_logical_emit_message(true, 'tapwatt', '')"
            " WHERE current_setting('synchronous_standby_names') <> ''"
        )
    )


CONFLICTS = frozenset({"40001", "40P01"})
"""serialization_failure and deadlock_detected: the transaction certainly had no effect."""
MAX_TRIES = 3
PAUSE_S = 0.05

P = ParamSpec("P")
T = TypeVar("T")


def retry_on_serialization_failure(
    transaction: Callable[P, Awaitable[T]],
) -> Callable[P, Coroutine[None, None, T]]:
    """Retries a function that is one whole transaction, MAX_TRIES times at most (F85).

    Any other error, above all a lost COMMIT, is raised as it is: its outcome is unknown.
    """

    @wraps(transaction)
    async def tried(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(1, MAX_TRIES):
            try:
                return await transaction(*args, **kwargs)
            except DBAPIError as error:
                if sqlstate_of(error) not in CONFLICTS:
                    raise
            # Full jitter: transactions that deadlocked once do not meet again.
            await asyncio.sleep(random.uniform(0, PAUSE_S * 2**attempt))  # noqa: S311
        return await transaction(*args, **kwargs)

    return tried
