"""The connection: how URLs are written, the bounds that every connection has, and what a cancelled call leaves."""

import asyncio
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

from app.store.db import listener
from app.store.db.connect import SERVER_BOUNDS, DatabaseUrlInvalid, asyncpg_url
from app.store.db.database import DATABASE_ERRORS, Database
from app.store.db.documents import to_json
from app.store.db.listener import Listener
from tests.conftest import PATIENCE_S
from tests.postgres import as_superuser

pytestmark = pytest.mark.anyio

ARGUMENTS: dict[str, dict[str, Any]] = {
    "postgresql://u:p@h:5433/db": {"host": "h", "port": 5433, "user": "u", "password": "p", "database": "db"},
    "postgres://u@h/db": {"host": "h", "user": "u", "database": "db"},
    "postgresql+asyncpg://u@h/db": {"host": "h", "user": "u", "database": "db"},
    "postgresql+psycopg://u@h/db": {"host": "h", "user": "u", "database": "db"},
    "postgresql://u@/db?host=/run/postgresql": {"host": "/run/postgresql", "user": "u", "database": "db"},
    "postgresql://u:p@[::1]:5432/db": {
        "host": "::1",
        "port": 5432,
        "user": "u",
        "password": "p",
        "database": "db",
    },
    "postgresql://u:p@a:5432,b:5433/db": {
        "host": ["a", "b"],
        "port": [5432, 5433],
        "user": "u",
        "password": "p",
        "database": "db",
    },
    "postgresql://u:p@a,b,c/db": {
        "host": ["a", "b", "c"],
        "port": [5432, 5432, 5432],
        "user": "u",
        "password": "p",
        "database": "db",
    },
    "postgresql://u:p@[::1],[::2]:5433/db": {
        "host": ["::1", "::2"],
        "port": [5432, 5433],
        "user": "u",
        "password": "p",
        "database": "db",
    },
    "postgresql://u:p%40s%3As%2Fw%25%2C%3F%23@h/db": {
        "host": "h",
        "user": "u",
        "password": "p@s:s/w%,?#",
        "database": "db",
    },
    "postgresql://u:p%40s%3As%2Fw%25%2C%3F%23@a,b/db": {
        "host": ["a", "b"],
        "port": [5432, 5432],
        "user": "u",
        "password": "p@s:s/w%,?#",
        "database": "db",
    },
    "postgresql://u:hun@ter2@h/db": {"host": "h", "user": "u", "password": "hun@ter2", "database": "db"},
    "postgresql://%2Frun%2Fpostgresql/db?target_session_attrs=read-write": {
        "host": "/run/postgresql",
        "database": "db",
    },
    "postgresql://u@h/db?sslmode=require": {"host": "h", "user": "u", "database": "db", "ssl": "require"},
    "postgresql://u@a,b/db?sslmode=verify-full": {
        "host": ["a", "b"],
        "port": [5432, 5432],
        "user": "u",
        "database": "db",
        "ssl": "verify-full",
    },
}


@pytest.mark.parametrize("url", ARGUMENTS)
async def test_a_url_is_read_as_libpq_reads_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "prefer")  # libpq's default, which is not ours
    dialect: Any = PGDialect_asyncpg
    _, arguments = dialect().create_connect_args(asyncpg_url(url))
    assert arguments == ARGUMENTS[url] | {"target_session_attrs": "read-write"}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://u:hunter2@h/db",
        "h:5432/db",
        "postgresql:/u:hunter2@h/db",
        "postgresql://u:hunter2@h:port/db",
        "postgresql://u:hunter2@h:99999/db",
        "postgresql://u:hunter2@a:port,b/db",
        "postgresql://u:hunter2@a:99999,b/db",
        "postgresql://u:hunter2@[bad/db",
        "postgresql://u:hun/ter2@h/db",
        "postgresql://u:hunter2@h/db?sslmode=please",
        "postgresql://u:hunter2@h/db?channel_binding=require",
    ],
)
async def test_a_url_that_cannot_be_used_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(DatabaseUrlInvalid) as refused:
        asyncpg_url(url)
    assert "hunter2" not in str(refused.value)
    assert "ter2" not in str(refused.value)
    assert str(refused.value)


async def test_every_connection_has_bounds_on_the_servers_side(database_url: str) -> None:  # F84
    database = Database(database_url)
    try:
        async with database.transaction() as connection:
            for name, value in SERVER_BOUNDS.items():
                query = text("SELECT setting FROM pg_settings WHERE lower(name) = :name")
                assert (await connection.execute(query, {"name": name})).scalar() == value
    finally:
        await database.close()


async def test_a_statement_that_takes_too_long_is_ended_by_the_server(database_url: str) -> None:
    database = Database(database_url)
    try:

        async def linger() -> None:
            async with database.transaction() as connection:
                await connection.execute(text("SET LOCAL statement_timeout = 50"))
                await connection.execute(text("SELECT pg_sleep(10)"))

        with pytest.raises(DATABASE_ERRORS) as ended:
            await linger()
        assert isinstance(ended.value, asyncpg.QueryCanceledError)
        async with database.transaction() as connection:
            assert (await connection.execute(text("SELECT 1"))).scalar() == 1
    finally:
        await database.close()


async def test_cancelled_transactions_leave_no_connection_behind(database_url: str) -> None:  # F84
    database = Database(database_url, pool_size=3)

    async def work(seconds: float) -> None:
        async with database.transaction() as connection:
            await connection.execute(text("SELECT 1"))
            await connection.execute(text("SELECT pg_sleep(:s)"), {"s": seconds})
            await connection.execute(text("SELECT 2"))

    try:
        for delay_ms in (0, 1, 2, 3, 5, 8, 13):
            tasks = [asyncio.create_task(work(0.02 * (n + 1))) for n in range(12)]
            await asyncio.sleep(delay_ms / 1000)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            async with database.transaction() as connection:
                assert (await connection.execute(text("SELECT 3"))).scalar() == 3
        assert database.connections_in_use == 0
        async with asyncio.timeout(PATIENCE_S), database.transaction() as connection:
            idle = text("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'")
            assert (await connection.execute(idle)).scalar() == 0
    finally:
        await database.close()


async def test_a_transaction_that_raises_leaves_nothing(database_url: str) -> None:
    database = Database(database_url)
    try:

        async def fail() -> None:
            async with database.transaction() as connection:
                await connection.execute(
                    text("INSERT INTO watchers (id, started_at, seen_at) VALUES ('w', now(), now())")
                )
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        async with database.transaction() as connection:
            assert (await connection.execute(text("SELECT count(*) FROM watchers"))).scalar() == 0
    finally:
        await database.close()


async def test_the_first_host_that_can_be_written_to_is_used(database_url: str) -> None:
    name, socket = database_url.split("@/")[1].split("?host=")
    several = f"postgresql://tapwatt_service@localhost:1,{socket.replace('/', '%2F')}:5432/{name}"
    database = Database(several)
    try:
        async with database.transaction() as connection:
            assert (await connection.execute(text("SELECT current_database()"))).scalar() == name
    finally:
        await database.close()


async def test_a_missing_server_is_an_error_that_the_endpoints_know() -> None:
    database = Database("postgresql://u:hunter2@localhost:1/db")
    try:
        with pytest.raises(DATABASE_ERRORS) as away:
            async with database.transaction():
                pass
        assert "hunter2" not in str(away.value)
        assert "hunter2" not in repr(database)
    finally:
        await database.close()


async def test_numbers_stay_exact_in_json_documents(database_url: str) -> None:
    numbers = [Decimal("0.1"), Decimal("12.35"), Decimal("0.12345678901234567890"), 2**80, Decimal("-3")]
    assert to_json(numbers) == '[0.1,12.35,"0.12345678901234567890",1208925819614629174706176,-3.0]'
    with pytest.raises(TypeError):
        to_json(object())
    with pytest.raises(ValueError):
        to_json(float("nan"))


CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tapwatt'"


async def test_the_listener_hears_comes_back_and_wakes_everyone_after_a_break(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "CHECK_S", 0.02)
    monkeypatch.setattr(listener, "RECONNECT_S", (0.0, 0.0))
    database, admin = Database(database_url), await asyncpg.connect(as_superuser(database_url))
    received: asyncio.Queue[str] = asyncio.Queue()
    listening = asyncio.create_task(Listener(database.host, {"tapwatt_test": received.put_nowait}).run())
    try:
        for _ in range(2):
            assert await asyncio.wait_for(received.get(), PATIENCE_S) == ""
            await admin.execute("NOTIFY tapwatt_test, 'ps_1'")
            assert await asyncio.wait_for(received.get(), PATIENCE_S) == "ps_1"
            await admin.execute(CUT)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await database.close()
        await admin.close()


async def test_connections_that_the_server_closed_while_idle_are_replaced_before_anything_is_done(
    database_url: str,
) -> None:
    database, admin = Database(database_url), await asyncpg.connect(as_superuser(database_url))
    try:
        for _ in range(20):
            async with database.transaction() as one, database.transaction() as other:
                await one.execute(text("SELECT 1"))
                await other.execute(text("SELECT 1"))
            await admin.execute(CUT)
            async with database.transaction() as connection:
                assert (await connection.execute(text("SELECT 2"))).scalar() == 2
            await admin.execute(CUT)
            async with database.read() as connection:
                assert (await connection.execute(text("SELECT 3"))).scalar() == 3
        assert database.connections_in_use == 0
    finally:
        await database.close()
        await admin.close()


async def _use_a_cut_connection(database: Database, admin: asyncpg.Connection) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("SELECT 1"))
        await admin.execute(CUT)
        await connection.execute(text("SELECT 2"))


async def test_a_connection_that_is_lost_within_a_transaction_is_not_replaced(database_url: str) -> None:
    database, admin = Database(database_url), await asyncpg.connect(as_superuser(database_url))
    try:
        with pytest.raises(DATABASE_ERRORS):
            await _use_a_cut_connection(database, admin)
        assert database.connections_in_use == 0
    finally:
        await database.close()
        await admin.close()
