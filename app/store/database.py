"""The connection to PostgreSQL: one engine, short transactions with written bounds, notifications."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from typing import TypeAlias

import asyncpg
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

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


class DatabaseUrlInvalid(ValueError):
    """The URL cannot be used; the message says what to write instead and never repeats a password."""


class Database:
    """Opens transactions. `url` is `postgresql://...`; several hosts are allowed, the writable one is used."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.engine: AsyncEngine = create_async_engine(
            asyncpg_url(url),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=POOL_TIMEOUT_S,
            pool_pre_ping=True,
            hide_parameters=True,
            json_serializer=to_json,
            json_deserializer=partial(json.loads, parse_float=Decimal),
            connect_args={
                "server_settings": SERVER_BOUNDS,
                "timeout": CONNECT_TIMEOUT_S,
                "target_session_attrs": "primary",
            },
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """One transaction: committed at the end of the block, rolled back when it raises."""
        async with self.engine.begin() as connection:
            yield connection

    async def close(self) -> None:
        await self.engine.dispose()


def asyncpg_url(url: str) -> URL:
    """`postgresql://` as written by people, for the driver we use.

    Raises DatabaseUrlInvalid. Several hosts are written as libpq does: `postgresql://u:p@a:5432,b:5432/db`.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.split("+")[0] not in ("postgresql", "postgres"):
        raise DatabaseUrlInvalid("a database URL begins with postgresql://")
    authority, slash, path = rest.partition("/")
    credentials, at, hosts = authority.rpartition("@")
    if "," not in hosts:
        return make_url(f"postgresql+asyncpg://{rest}")
    names, ports = zip(*(_host_and_port(h) for h in hosts.split(",")), strict=True)
    parsed = make_url(f"postgresql+asyncpg://{credentials}{at}{slash}{path}")
    return parsed.update_query_dict({"host": ",".join(names), "port": ",".join(ports)})


def _host_and_port(host: str) -> tuple[str, str]:
    name, separator, port = host.rpartition(":")
    return (name, port) if separator and port.isdigit() else (host, "5432")


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
