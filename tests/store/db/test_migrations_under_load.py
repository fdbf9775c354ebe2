"""Tests of app/store/db/schema.

A migration that meets traffic gives up soon instead of blocking it, and leaves nothing half done (F86).
"""

import asyncio
import shutil
import time
from pathlib import Path

import asyncpg
import pytest
from alembic import command
from alembic.config import Config

from app.store.db.schema import MIGRATIONS
from tests.conftest import PATIENCE_S
from tests.postgres import as_owner, as_superuser

pytestmark = pytest.mark.anyio

NEXT = """
from alembic import op
import sqlalchemy as sa

revision, down_revision, branch_labels, depends_on = "0002", "{head}", None, None

def upgrade():
    op.add_column("payment_sessions", sa.Column("colour", sa.Text()))
"""
LOCK_S = 2.0


def with_one_more(folder: Path, head: str, url: str) -> Config:
    """Our migrations and a next one that needs a table that is in use."""
    copy = folder / "migrations"
    shutil.copytree(MIGRATIONS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "versions" / "0002_next.py").write_text(NEXT.format(head=head), encoding="utf-8")
    config = Config()
    config.set_main_option("script_location", str(copy))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


async def test_F86_a_migration_waits_for_a_lock_two_seconds_and_no_reader_waits_longer(
    database_url: str, tmp_path: Path
) -> None:
    admin = await asyncpg.connect(as_superuser(database_url))
    reader = await asyncpg.connect(as_superuser(database_url))
    head = await admin.fetchval("SELECT version_num FROM alembic_version")
    config = with_one_more(tmp_path, head, as_owner(database_url))
    try:
        long_one = admin.transaction()
        await long_one.start()
        await admin.execute("LOCK TABLE payment_sessions IN ROW EXCLUSIVE MODE")
        began = time.monotonic()
        migration = asyncio.create_task(asyncio.to_thread(command.upgrade, config, "head"))
        waited_s = 0.0
        while not migration.done():
            asked = time.monotonic()
            await reader.fetchval("SELECT count(*) FROM payment_sessions")
            waited_s = max(waited_s, time.monotonic() - asked)
            await asyncio.sleep(0.02)
        with pytest.raises(Exception, match="lock timeout"):
            await migration
        assert time.monotonic() - began < LOCK_S + PATIENCE_S
        assert 0.1 < waited_s < LOCK_S + 1, (
            "the reader queued behind the migration, for as long as its lock may take"
        )
        await long_one.rollback()
        assert await admin.fetchval("SELECT version_num FROM alembic_version") == head
        await asyncio.to_thread(command.upgrade, config, "head")
        assert await admin.fetchval("SELECT version_num FROM alembic_version") == "0002"
        assert await admin.fetchval("SELECT count(colour) FROM payment_sessions") == 0
    finally:
        await admin.execute("ALTER TABLE payment_sessions DROP COLUMN IF EXISTS colour")
        await admin.execute("UPDATE alembic_version SET version_num = $1", head)
        await reader.close()
        await admin.close()
