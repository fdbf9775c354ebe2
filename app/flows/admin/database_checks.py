"""Checks a process makes of its database. Suitability, clock, secret key, heartbeat, echo."""

from datetime import datetime, timedelta

import structlog

from app.clock import Clock
from app.flows.context import Context
from app.store import health
from app.store.db import suitability
from app.store.db.connection import Connection
from app.store.db.database import Database
from app.store.db.listener import ECHO_CHANNEL

log = structlog.get_logger("database")

CLOCK_QUESTIONS = 3


async def check_suitable(database: Database) -> None:
    """Raises DatabaseUnsuitable when the server cannot keep what the store promises."""
    async with database.read() as connection:
        await suitability.check(connection)


async def warn_if_unbound(database: Database) -> None:
    """Logs that row level security does not bind the service. Its user owns the tables, or is a superuser."""
    async with database.read() as connection:
        if not await suitability.is_bound(connection):
            log.warning(
                "row_level_security_is_off",
                do="let TAPWATT_DATABASE_URL name another user than TAPWATT_OWNER_DATABASE_URL, and migrate",
            )


async def clock_skew(database: Database, clock: Clock) -> timedelta:
    """Measures how far the database's clock is ahead of ours. By the shortest of a few round trips."""
    async with database.read() as connection:
        asked = [await _asked(connection, clock) for _ in range(CLOCK_QUESTIONS)]
    before, theirs, after = min(asked, key=lambda a: a[2] - a[0])
    return theirs - (before + (after - before) / 2)


async def _asked(connection: Connection, clock: Clock) -> tuple[datetime, datetime, datetime]:
    """Our time before, theirs, ours after."""
    before = clock.now()
    return before, await health.database_time(connection), clock.now()


async def echo(database: Database, word: str) -> None:
    """Sends a word to the listener through the database. This proves that it listens to the server that is written
    to."""
    async with database.transaction() as connection:
        connection.notify(ECHO_CHANNEL, word)


async def check_secret_key(context: Context) -> None:
    """Raises WrongSecretKey when secrets were encrypted with another key."""
    async with context.database.read() as connection:
        await context.operators.check_key(connection)


async def beat(context: Context, watcher: str, now: datetime) -> datetime | None:
    """Records that a watcher lives. Returns its previous heartbeat as the database knows it."""
    async with context.database.transaction() as connection:
        return await health.beat(connection, watcher, now)


async def leave(context: Context, watcher: str) -> None:
    """Removes the heartbeat of a watcher that ends."""
    async with context.database.transaction() as connection:
        await health.leave(connection, watcher)
