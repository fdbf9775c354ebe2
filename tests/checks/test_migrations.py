"""The migrations make exactly the tables that the code believes in, on a real PostgreSQL."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.db.connect import WritableHost, asyncpg_url
from app.store.db.schema import known_schemas, migrate
from app.store.tables import metadata
from migrations.engine import engine_on
from tests.postgres import TestCluster, alembic_config, as_owner

pytestmark = pytest.mark.anyio

CATALOG = """
SELECT format('column %s.%s %s not_null=%s default=%s identity=%s comment=%s', attrelid::regclass, attname,
              format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid), attidentity,
              col_description(attrelid, attnum))
  FROM pg_attribute
  JOIN pg_class ON pg_class.oid = attrelid
  LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
 WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
UNION SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION SELECT format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION SELECT format('table %s options=%s protected=%s comment=%s', relname, reloptions, relrowsecurity,
                    obj_description(oid, 'pg_class'))
  FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
UNION SELECT format('policy %s %s %s %s %s', tablename, policyname, cmd, qual, with_check) FROM pg_policies
UNION SELECT format('trigger %s', pg_get_triggerdef(oid)) FROM pg_trigger WHERE NOT tgisinternal
UNION SELECT format('function %s', pg_get_functiondef(oid)) FROM pg_proc
 WHERE pronamespace = 'public'::regnamespace
"""
"""What PostgreSQL knows, also what alembic's comparison leaves out: checks, index conditions, storage."""


@pytest.fixture
def empty_url(cluster: TestCluster) -> Iterator[str]:
    with cluster.database() as url:
        yield url


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[AsyncConnection]:
    async with engine_on(WritableHost(asyncpg_url(url))).begin() as connection:
        yield connection


async def catalog(url: str) -> set[str]:
    async with connected(url) as connection:
        rows = set((await connection.execute(text(CATALOG))).scalars())
    return {row for row in rows if "alembic_version" not in row}


def differences(connection: Connection) -> list[object]:
    options = {"compare_type": True, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


async def test_alembic_finds_no_difference_between_migrations_and_tables(database_url: str) -> None:
    async with connected(database_url) as connection:
        assert await connection.run_sync(differences) == []


async def test_postgresql_finds_no_difference_between_migrations_and_tables(
    database_url: str, empty_url: str
) -> None:
    async with connected(empty_url) as connection:
        await connection.run_sync(metadata.create_all)
    migrated, believed = await catalog(database_url), await catalog(empty_url)
    assert len(believed) > len(metadata.tables)
    assert sorted(migrated - believed) == []
    assert sorted(believed - migrated) == []


def test_there_is_one_line_of_migrations_with_one_head() -> None:
    script = ScriptDirectory.from_config(alembic_config("postgresql:///unused"))
    assert script.get_heads() == [known_schemas()[0]]
    assert len(script.get_bases()) == 1
    for revision in script.walk_revisions():
        assert Path(revision.path).name.startswith(f"{revision.revision}_"), (
            "known_schemas() reads file names"
        )


CONTRACTS = re.compile(
    r"\bop\.(drop_\w+|alter_column|rename_table)|\b(DROP|RENAME|SET NOT NULL|ALTER COLUMN)\b"
)


def forgets_compatibility(source: str) -> bool:
    """Whether an upgrade takes away or tightens what older code uses, and does not say which code still fits."""
    upgrade = source.partition("def upgrade")[2].partition("def downgrade")[0]
    return bool(CONTRACTS.search(upgrade)) and "schema_compatibility" not in upgrade


def test_a_migration_that_older_code_does_not_fit_says_so() -> None:
    script = ScriptDirectory.from_config(alembic_config("postgresql:///unused"))
    found = {each.revision: Path(each.path).read_text(encoding="utf-8") for each in script.walk_revisions()}
    assert [revision for revision, source in found.items() if forgets_compatibility(source)] == []
    note = "op.execute(\"UPDATE schema_compatibility SET oldest_code = '0002'\")"
    for contracting in ('op.drop_column("a", "b")', 'op.execute("ALTER TABLE a RENAME b TO c")'):
        assert forgets_compatibility(f"def upgrade() -> None:\n    {contracting}")
        assert not forgets_compatibility(f"def upgrade() -> None:\n    {contracting}\n    {note}")
    assert not forgets_compatibility('def upgrade() -> None:\n    op.add_column("a", b)')


def test_migrating_a_migrated_database_changes_nothing(database_url: str) -> None:
    before = asyncio.run(catalog(database_url))
    migrate(as_owner(database_url))
    assert asyncio.run(catalog(database_url)) == before


def test_every_migration_can_be_taken_back_and_made_again(empty_url: str) -> None:
    migrate(empty_url)
    command.downgrade(alembic_config(empty_url), "base")
    assert asyncio.run(catalog(empty_url)) == set()
    migrate(empty_url)
