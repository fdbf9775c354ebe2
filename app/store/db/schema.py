"""Runs migrations, and compares the database's schema version with the code's."""

import asyncio
from functools import cache
from pathlib import Path

from sqlalchemy import text

from app.domain.units.frozen import frozen
from app.store.db import roles, suitability
from app.store.db.connection import Connection
from app.store.db.database import Database


def migrate(database_url: str, *, service_url: str | None = None) -> None:
    """Runs all missing migrations. Repeatable, and safe from several machines at once (one waits). Leaves a newer
    schema that this code fits as it is.

    `service_url`: with another user, it is given the rights that the service needs, and made where it is missing.
    Raises DatabaseUnsuitable, before anything is changed.
    """
    from alembic import command  # slow to import, and only migrations need it
    from alembic.config import Config

    if asyncio.run(_is_newer(database_url)):
        return
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("sqlalchemy.url", database_url.replace("%", "%%"))
    command.upgrade(config, "head")
    if service_url is not None:
        asyncio.run(roles.let_in(database_url, service_url))


async def _is_newer(database_url: str) -> bool:
    """Whether a newer version has migrated the database. Raises DatabaseUnsuitable, also when this code is too old."""
    database = Database(database_url)
    try:
        async with database.read() as connection:
            await suitability.check(connection, to_migrate=True)
            found = await schema_of(connection)
    finally:
        await database.close()
    if found.revision is None or found.revision in known_schemas():
        return False
    if problem := schema_problem(found):
        raise suitability.DatabaseUnsuitable(f"The database's schema {problem}.")
    return True


MIGRATIONS = Path(__file__).resolve().parents[3] / "migrations"


@cache
def known_schemas() -> tuple[str, ...]:
    """Returns the revisions that this code knows, newest first. The file names of migrations begin with theirs.

    Alembic, which knows them too, would stay in every process's memory: 10 MB.
    """
    names = (path.name for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    return tuple(sorted((name.partition("_")[0] for name in names), reverse=True))


@frozen
class Schema:
    """The database's revision, and the oldest code that fits it. None: it was never migrated."""

    revision: str | None
    oldest_code: str | None = None


_OLDEST = text("SELECT oldest_code FROM schema_compatibility")


async def schema_of(connection: Connection) -> Schema:
    """Reads what the last migration noted."""
    tables = "SELECT to_regclass('alembic_version'), to_regclass('schema_compatibility')"
    migrated, noted = tuple((await connection.execute(text(tables))).one())
    if migrated is None:
        return Schema(None)
    revision = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar()
    return Schema(revision, (await connection.execute(_OLDEST)).scalar() if noted else None)


def schema_problem(found: Schema) -> str | None:
    """Why this code cannot run on a schema; None: it can. A newer schema names the oldest code that fits it."""
    known = known_schemas()
    if found.revision == known[0]:
        return None
    if found.revision is None or found.revision in known:
        return f"is at {found.revision}, this code needs {known[0]}: run `tapwatt migrate`"
    if found.oldest_code in known:
        return None
    return f"is at {found.revision}, newer than this code at {known[0]}, which does not fit it: start a newer version"
