"""Bring the database's schema to what this code was written for."""

import asyncio

from alembic import command
from alembic.config import Config
from sqlalchemy import pool

from app.store import suitability
from app.store.connecting import WritableHost
from app.store.database import engine_on
from app.store.database_url import asyncpg_url
from app.store.health import MIGRATIONS


def migrate(database_url: str) -> None:
    """Run all migrations that are missing; safe to run twice, and from several machines at once (one waits).

    Raises DatabaseUnsuitable, before anything is changed.
    """
    asyncio.run(_check(database_url))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("sqlalchemy.url", database_url.replace("%", "%%"))
    command.upgrade(config, "head")


async def _check(database_url: str) -> None:
    engine = engine_on(WritableHost(asyncpg_url(database_url)), poolclass=pool.NullPool)
    try:
        async with engine.begin() as connection:
            await suitability.check(connection, to_migrate=True)
    finally:
        await engine.dispose()
