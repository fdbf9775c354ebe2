"""Configures alembic: the caller gives the URL, all steps run in one transaction."""

import asyncio

from alembic import context
from sqlalchemy import Connection, text

from app.store.db.connect import Bounds, WritableHost, asyncpg_url
from app.store.tables import metadata
from migrations.engine import engine_on

MIGRATION_LOCK = 0x7461707761747401
"""An advisory lock: of several that migrate at once, one works and the others find nothing left to do."""

MIGRATION_S = 3600.0
"""Statement timeout for a step that rewrites a large table; only its wait for locks is short."""


def _url() -> str:
    given = context.get_x_argument(as_dictionary=True).get("url") or context.config.get_main_option(
        "sqlalchemy.url"
    )
    if not given:
        raise SystemExit("say which database: alembic -x url=postgresql://... upgrade head")
    return given


def _offline() -> None:
    context.configure(
        dialect_name="postgresql",
        target_metadata=metadata,
        literal_binds=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection, target_metadata=metadata, compare_type=True, compare_server_default=True
    )
    with context.begin_transaction():
        connection.execute(text("SET LOCAL lock_timeout = '60s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.execute(text("SET LOCAL lock_timeout = '2s'"))
        context.run_migrations()


async def _online() -> None:
    patient = Bounds(answer_s=MIGRATION_S)
    host = WritableHost(asyncpg_url(_url()), bounds=patient, server_bounds={})
    engine = engine_on(host)
    async with engine.connect() as connection:
        await connection.run_sync(_run)
        await connection.commit()
    await engine.dispose()


if context.is_offline_mode():
    _offline()
else:
    asyncio.run(_online())
