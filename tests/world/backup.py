"""Keeps a backup of a world's database beside it, and restores it."""

import asyncpg

from app.store.tables import metadata
from tests.shared_database import UNGUARDED

TABLES = [table.name for table in metadata.sorted_tables]
PREPARE = "; ".join(
    ["CREATE SCHEMA IF NOT EXISTS backup"]
    + [f"CREATE TABLE IF NOT EXISTS backup.{name} (LIKE public.{name})" for name in TABLES]
)
KEEP = "; ".join(
    f"DELETE FROM backup.{name}; INSERT INTO backup.{name} TABLE public.{name}" for name in TABLES
)
GO_BACK = UNGUARDED.format(
    "; ".join(
        [f"DELETE FROM public.{name}" for name in reversed(TABLES)]
        + [f"INSERT INTO public.{name} OVERRIDING SYSTEM VALUE TABLE backup.{name}" for name in TABLES]
    )
)


async def keep(connection: asyncpg.Connection) -> None:
    """All rows of all tables as they are now."""
    await connection.execute(PREPARE)
    await connection.execute(KEEP)


async def go_back(connection: asyncpg.Connection) -> None:
    """Restores all rows as they were backed up; while no replica writes."""
    await connection.execute(GO_BACK)
