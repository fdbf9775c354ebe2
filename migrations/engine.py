"""The engine that migrations run on: alembic needs SQLAlchemy's, the service has its own."""

from typing import Any

import asyncpg
from sqlalchemy import pool
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from app.store.db.connect import WritableHost, is_pooled

UNPREPARED = {"prepared_statement_cache_size": 0, "prepared_statement_name_func": str}
"""SQLAlchemy's options for a connection through a pooler: no statement cache, no statement names."""


def engine_on(host: WritableHost) -> AsyncEngine:
    """An engine whose connections `host` opens, without a pool of its own."""

    def open_one() -> DBAPIConnection:
        connection = await_only(host.connect())

        async def opened() -> asyncpg.Connection:
            return connection

        how: dict[str, Any] = UNPREPARED if is_pooled(connection) else {}
        dbapi: Any = engine.dialect.dbapi
        made: DBAPIConnection = dbapi.connect(async_creator_fn=opened, **how)
        return made

    engine = create_async_engine(host.url, creator=open_one, hide_parameters=True, poolclass=pool.NullPool)
    return engine
