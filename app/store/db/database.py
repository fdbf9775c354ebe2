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

Connection: TypeAlias = AsyncConnection
"""An open transaction, for layers above that only hand it on."""

DATABASE_ERRORS: tuple[type[Exception], ...] = (
    DBAPIError,
    PoolTimeout,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    OSError,
    TimeoutError,
)
"""What a transaction raises when the database is away, slow or full: whether it committed is not known."""


def sqlstate_of(error: DBAPIError) -> str:
    """PostgreSQL's five characters; empty when it did not get to say any."""
    return str(getattr(error.orig, "sqlstate", None) or "")


def is_away(error: BaseException) -> bool:
    """Whether the database cannot be reached or used at all, whatever is asked of it: no fault of the asker's."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or sqlstate_of(error).startswith(AWAY)
    return isinstance(error, PoolTimeout | OSError | asyncpg.PostgresError | asyncpg.InterfaceError)


REFUSES = ("53", "25006")
"""SQLSTATE: out of disk, memory or connections; read-only."""
AWAY = (*REFUSES, "08", "57")
"""Or the connection is lost, or was ended by an operator or by a bound."""
REFUSAL_COUNTS_S = 10.0
"""After a write that was refused a process is not ready for so long; then the next one tries again."""
POOL_TIMEOUT_S = 5
SESSIONS_CHANNEL = "tapwatt_sessions"
DUE_CHANNEL = "tapwatt_due"


def engine_on(host: WritableHost, **options: Any) -> AsyncEngine:
    """An engine whose connections are opened by `host`; through a pooler its statements stay unprepared."""

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
    """Opens transactions. `url` is `postgresql://...`; several hosts are allowed, the writable one is used.

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
        """`listen_url`: where notifications are heard, if not at `url`: past a pooler."""
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
            # A server that was cut off or has died in silence: what the pool holds leads to it too.
            await self.engine.dispose()
            raise
        except DBAPIError as error:
            if sqlstate_of(error).startswith(REFUSES):
                self._refused = (monotonic_s(), type(error.orig).__name__)
            raise

    @property
    def refusal(self) -> str | None:
        """Why the server took no writes just now, though it answers: its disk is full, or it is read-only (F83)."""
        if self._refused is None or monotonic_s() - self._refused[0] > REFUSAL_COUNTS_S:
            return None
        return f"refuses writes ({self._refused[1]})"

    @property
    def connections_in_use(self) -> int:
        """By transactions that are open now: it is 0 whenever nobody does anything (F84)."""
        pool = self.engine.pool
        assert isinstance(pool, AsyncAdaptedQueuePool)
        return pool.checkedout()

    async def close(self) -> None:
        await self.engine.dispose()


def _refuse_closed(held: DBAPIConnection, *_: object) -> None:
    """Have the pool replace a connection that the server has closed. A question to the server before every transaction
    (the pool's own `pre_ping`) would tell hardly more, and costs three round trips."""
    driver = held.driver_connection
    if isinstance(driver, asyncpg.Connection) and driver.is_closed():
        raise DisconnectionError("the server closed this connection")


def is_json(value: object) -> bool:
    """Whether `to_json` writes it and jsonb takes it: no NaN, no NUL characters, no lone surrogates."""
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and is_json(k) and is_json(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(map(is_json, value))
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= c <= "\udfff" for c in value)
    return value is None or isinstance(value, int) or (isinstance(value, Decimal) and value.is_finite())


def to_json(value: object) -> str:
    """JSON for jsonb: decimals as numbers where a number says the same, as text where it would not."""
    return json.dumps(value, default=_decimal, separators=(",", ":"), allow_nan=False)


def _decimal(value: object) -> float | str:
    if not isinstance(value, Decimal):
        raise TypeError(f"{type(value).__name__} has no JSON form here")
    number = float(value)
    return number if Decimal(repr(number)) == value else str(value)


async def notify(connection: AsyncConnection, channel: str, payload: str = "") -> None:
    """Wake whoever listens, once this transaction commits. Lost notifications only cost time: everyone polls too."""
    await connection.execute(
        text("SELECT pg_notify(:channel, :payload)"), {"channel": channel, "payload": payload}
    )


async def wait_for_standby(connection: AsyncConnection) -> None:
    """What this transaction has read will be on the standby when it commits, as if it had been written here (F81).

    A commit waits for a synchronous standby only if it wrote something, and a wait that was given up leaves a row that
    can be read and may yet be lost. So whoever tells a caller of an earlier write makes this commit wait for it.
    """
    await connection.execute(
        text(
            "SELECT pg_logical_emit_message(true, 'tapwatt', '')"
            " WHERE current_setting('synchronous_standby_names') <> ''"
        )
    )


CONFLICTS = frozenset({"40001", "40P01"})
"""serialization_failure, deadlock_detected: certainly nothing of it was done."""
MAX_TRIES = 3
PAUSE_S = 0.05

P = ParamSpec("P")
T = TypeVar("T")


def retry_on_serialization_failure(
    transaction: Callable[P, Awaitable[T]],
) -> Callable[P, Coroutine[None, None, T]]:
    """For a function that is one transaction and nothing else: run it MAX_TRIES times at most (F85).

    Any other failure, a lost COMMIT above all, is raised as it is: nobody knows what became of it.
    """

    @wraps(transaction)
    async def tried(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(1, MAX_TRIES):
            try:
                return await transaction(*args, **kwargs)
            except DBAPIError as error:
                if sqlstate_of(error) not in CONFLICTS:
                    raise
            # Full jitter: those who met in a circle do not meet again.
            await asyncio.sleep(random.uniform(0, PAUSE_S * 2**attempt))  # noqa: S311
        return await transaction(*args, **kwargs)

    return tried
