"""The connection to PostgreSQL: one engine, short transactions with written bounds, notifications."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from typing import TypeAlias

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.store.database_url import asyncpg_url

Connection: TypeAlias = AsyncConnection
"""An open transaction, for rooms above that only hand it on."""

SERVER_BOUNDS = {
    "application_name": "tapwatt",
    "statement_timeout": "5000",
    "lock_timeout": "3000",
    "transaction_timeout": "10000",
    "idle_in_transaction_session_timeout": "5000",
    "timezone": "UTC",
}
"""Milliseconds: no statement, lock or forgotten transaction lasts longer, whatever the client does."""

DATABASE_TROUBLE: tuple[type[Exception], ...] = (
    DBAPIError,
    PoolTimeout,
    asyncpg.PostgresError,
    OSError,
    TimeoutError,
)
"""What a transaction raises when the database is away, slow or full: whether it committed is not known."""

CONNECT_TIMEOUT_S = 5
POOL_TIMEOUT_S = 5
SESSIONS_CHANNEL = "tapwatt_sessions"
DUE_CHANNEL = "tapwatt_due"


class Database:
    """Opens transactions. `url` is `postgresql://...`; several hosts are allowed, the writable one is used.

    Raises DatabaseUrlInvalid.
    """

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.engine: AsyncEngine = create_async_engine(
            asyncpg_url(url),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=POOL_TIMEOUT_S,
            hide_parameters=True,
            json_serializer=to_json,
            json_deserializer=partial(json.loads, parse_float=Decimal),
            connect_args={
                "server_settings": SERVER_BOUNDS,
                "timeout": CONNECT_TIMEOUT_S,
            },
        )
        event.listen(self.engine.sync_engine, "checkout", _refuse_closed)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """One transaction: committed at the end of the block, rolled back when it raises."""
        async with self.engine.begin() as connection:
            yield connection

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
