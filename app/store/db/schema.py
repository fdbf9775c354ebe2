"""Runs migrations, and compares the database's schema version with the code's."""

import asyncio
from functools import cache
from pathlib import Path

from sqlalchemy import text

from app.store.db import roles, suitability
from app.store.db.connection import Connection
from app.store.db.database import Database


def migrate(database_url: str, *, service_url: str | None = None) -> None:
    """Runs all missing migrations. Repeatable, and safe from several machines at once (one waits).

    `service_url`: with another user, it is given the rights that the service needs, and made where it is missing.
    Raises DatabaseUnsuitable, before anything is changed.
    """
    from alembic import command  # slow to import, and only migrations need it
    from alembic.config import Config

    asyncio.run(_check(database_url))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("sqlalchemy.url", database_url.replace("%", "%%"))
    command.upgrade(config, "head")
    if service_url is not None:
        asyncio.run(roles.let_in(database_url, service_url))


async def _check(database_url: str) -> None:
    database = Database(database_url)
    try:
        async with database.read() as connection:
            await suitability.check(connection, to_migrate=True)
    finally:
        await database.close()


MIGRATIONS = Path(__file__).resolve().parents[3] / "migrations"


@cache
def newest_schema() -> str:
    """Returns the revision that this code was written for. The file names of migrations begin with theirs.

    Alembic, which knows it too, would stay in every process's memory: 10 MB.
    """
    return max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


async def schema_version(connection: Connection) -> str | None:
    """The database's revision; None when it was never migrated."""
    known = await connection.execute(text("SELECT to_regclass('alembic_version')"))
    if known.scalar() is None:
        return None
    version: str | None = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar()
    return version
