"""Of several hosts the writable one is used, however the others fail: refused, silent, or a standby."""

import asyncio
import time
from collections.abc import AsyncIterator
from urllib.parse import quote, unquote

import asyncpg
import pytest
from sqlalchemy import text

from app.store.db.connect import Bounds, NotWritable, WritableHost, asyncpg_url
from app.store.db.database import DATABASE_ERRORS, Database, is_away
from tests.postgres import as_superuser
from tests.processes.proxy import Proxy

pytestmark = pytest.mark.anyio

QUICK_S = 0.7
BRIEF = Bounds(connect_s=1.0, answer_s=0.5)


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    folder = unquote(database_url.split("?host=")[1])
    async with Proxy(lambda: asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")) as proxy:
        yield proxy


def several(database_url: str, *ports: int) -> str:
    """Loopback ports first, the server's own socket last."""
    name, folder = database_url.split("@/")[1].split("?host=")
    hosts = [f"127.0.0.1:{port}" for port in ports] + [f"{quote(folder, safe='')}:5432"]
    return f"postgresql://tapwatt_service@{','.join(hosts)}/{name}"


async def test_F81_a_host_that_swallows_everything_uses_up_its_own_time_only_and_is_asked_last_from_then_on(
    database_url: str, proxy: Proxy
) -> None:
    proxy.die()
    host = WritableHost(asyncpg_url(several(database_url, 1, proxy.port)), bounds=BRIEF)
    for bound_s in (BRIEF.connect_s + QUICK_S, QUICK_S):
        began = time.monotonic()
        connection = await host.connect()
        assert time.monotonic() - began < bound_s
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()


async def test_F81_a_server_that_falls_silent_is_released_and_all_that_the_pool_had_of_it(
    database_url: str, proxy: Proxy
) -> None:
    database = Database(several(database_url, proxy.port), bounds=BRIEF)

    async def work() -> object:
        async with database.transaction() as connection:
            return (await connection.execute(text("SELECT pg_sleep(0.05)"))).rowcount

    try:
        await asyncio.gather(*(work() for _ in range(5)))
        proxy.die()
        with pytest.raises(DATABASE_ERRORS) as raised:
            await work()
        assert is_away(raised.value)
        began = time.monotonic()
        await work()
        assert time.monotonic() - began < BRIEF.connect_s + QUICK_S, (
            "each connection was found out on its own"
        )
        assert database.connections_in_use == 0
    finally:
        await database.close()


async def test_a_server_that_takes_no_writes_is_not_used(database_url: str) -> None:
    admin = await asyncpg.connect(as_superuser(database_url))
    name = await admin.fetchval("SELECT current_database()")
    try:
        await admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        with pytest.raises(NotWritable):
            await WritableHost(asyncpg_url(several(database_url, 1))).connect()
    finally:
        await admin.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await admin.close()


async def test_a_servers_message_is_shown_rather_than_the_silence_of_others(database_url: str) -> None:
    url = several(database_url, 1).replace("tapwatt_service@", "nobody_knows_him@")
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await WritableHost(asyncpg_url(url)).connect()


async def test_types_of_postgresql_are_asked_for_once_in_a_process(database_url: str) -> None:
    host, counts = WritableHost(asyncpg_url(database_url)), []
    for _ in range(3):
        raw = await host.connect()
        before = raw._protocol.queries_count
        assert await raw.fetchval("SELECT cardinality($1::macaddr[])", ["08:00:2b:01:02:03"]) == 1
        counts.append(raw._protocol.queries_count - before)
        await raw.close()
    assert counts[0] > counts[1] == counts[2] == 1
