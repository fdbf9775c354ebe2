"""Tests of app/store/db/database.

A database that is full, read-only, out of connections or in conflict: nothing is acknowledged, and it recovers.
"""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import httpx
import pytest
from sqlalchemy import text

from app.embedded.cluster import OWNER
from app.main import create_app
from app.store.db.database import Database
from app.store.db.schema import migrate
from tests.api.service import Service, assert_problem, make_context, open_service, payment
from tests.postgres import as_owner, as_service, as_superuser
from tests.processes.pair import Server
from tests.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

PATH = "/v1/payment-sessions"


@asynccontextmanager
async def admin_of(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    admin = await asyncpg.connect(as_superuser(database_url))
    try:
        yield admin
    finally:
        await admin.close()


async def refused(service: Service, reference: str = "A-1") -> None:
    """The terminal is asked to retry, nothing is recorded, and the process is not ready."""
    answer = await service.call("POST", PATH, payment("101", reference))
    assert assert_problem(answer, 503, "unavailable")["retryable"]
    assert 1 <= int(answer.headers["retry-after"]) <= 5
    ready = await service.call("GET", "/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "not_ready")
    assert ready.json()["checks"]["database"] != "ok", ready.text


async def test_F83_a_read_only_database_promises_nothing_and_heals_by_itself(database_url: str) -> None:
    async with admin_of(database_url) as admin, open_service(database_url) as service:
        name = await admin.fetchval("SELECT current_database()")
        try:
            await admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            await service.context.database.close()
            await refused(service)
        finally:
            await admin.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await service.authorize("101", "A-1")
        assert await service.count() == 1


async def test_F83_a_database_that_becomes_read_only_under_open_connections_is_noticed(
    database_url: str,
) -> None:
    async with open_service(database_url, pool_size=1) as service:
        async with service.context.database.read() as connection:  # what a reload does to each connection
            await connection.execute(text("SET SESSION default_transaction_read_only = on"))
        await refused(service)
        ready = await service.call("GET", "/health/ready")
        assert ready.json()["checks"]["database"] == "is read-only"


async def test_F83_without_a_free_connection_nothing_is_promised_until_there_is_one(
    database_url: str,
) -> None:
    """As an ordinary user too: superusers have no such bound."""
    role = "tapwatt_few"
    url = as_superuser(database_url).replace("postgres@", f"{role}@")
    async with admin_of(database_url) as admin:
        await admin.execute(f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN CONNECTION LIMIT 1")
        await admin.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        try:
            async with open_service(url) as service:
                await service.context.database.close()
                taken = await asyncpg.connect(url)
                await refused(service)
                await taken.close()
                session = await service.authorize("101", "A-1")
                again = await service.call("POST", PATH, payment("101", "A-1"))
                assert (again.status_code, again.json()["id"]) == (200, session["id"])
        finally:
            await admin.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount the small disk that this fills")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


async def test_F83_a_full_disk_promises_nothing_and_heals_by_itself(small_disk: Path, tmp_path: Path) -> None:
    server = Server(small_disk)
    server.make_empty()
    log = tmp_path / "pg_wal"  # a full log would end the server, as it should
    shutil.move(server.host.cluster / "pg_wal", log)
    (server.host.cluster / "pg_wal").symlink_to(log)
    try:
        await server.start({})
        await server.execute(f"CREATE DATABASE tapwatt OWNER {OWNER}")
        url = as_service(server.url("tapwatt"))
        await asyncio.to_thread(migrate, as_owner(url), service_url=url)
        async with admin_of(url) as admin, open_service(url) as service:
            await admin.execute("CREATE TABLE filler (filling text)")
            with pytest.raises(asyncpg.DiskFullError):
                await _fill(admin)
            await refused(service)
            await admin.execute("DROP TABLE filler")
            await service.authorize("101", "A-1")
            assert await service.count() == 1
    finally:
        server.kill()


async def _fill(admin: asyncpg.Connection) -> None:
    await admin.execute("ALTER TABLE filler ALTER filling SET STORAGE PLAIN")
    for pages in (2000, *[20] * 2000):
        with suppress(asyncpg.DiskFullError):
            await admin.execute(
                f"INSERT INTO filler SELECT repeat('x', 8000) FROM generate_series(1, {pages})"
            )
            continue
        if pages == 20:
            break
    while True:
        await admin.execute("INSERT INTO filler VALUES (repeat('x', 8000))")


CONFLICT = """
CREATE SEQUENCE IF NOT EXISTS conflicts;
ALTER SEQUENCE conflicts RESTART;
GRANT ALL ON SEQUENCE conflicts TO PUBLIC;
CREATE OR REPLACE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('conflicts') <= {times} THEN
        RAISE EXCEPTION 'conflict' USING ERRCODE = '{sqlstate}';
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER conflict BEFORE INSERT OR UPDATE ON payment_sessions FOR EACH ROW EXECUTE FUNCTION conflict();
"""
"""A sequence counts on though the transaction is rolled back."""


@asynccontextmanager
async def conflicts(database_url: str, times: int, sqlstate: str) -> AsyncIterator[asyncpg.Connection]:
    async with admin_of(database_url) as admin:
        await admin.execute(CONFLICT.format(times=times, sqlstate=sqlstate))
        try:
            yield admin
        finally:
            await admin.execute("DROP TRIGGER conflict ON payment_sessions")


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
async def test_F85_a_conflict_is_tried_again_whole_three_times_at_most(
    database_url: str, sqlstate: str
) -> None:
    async with open_service(database_url) as service:
        async with conflicts(database_url, 2, sqlstate):
            session = await service.authorize("101", "A-1")
        async with conflicts(database_url, 2, sqlstate):
            stopped = await service.call("POST", f"{PATH}/{session['id']}/stop")
            assert stopped.status_code == 202, stopped.text
        async with conflicts(database_url, 3, sqlstate) as admin:
            answer = await service.call("POST", PATH, payment("102", "A-2"))
            assert_problem(answer, 503, "unavailable")
            assert await admin.fetchval("SELECT last_value FROM conflicts") == 3
        assert await service.count() == 1


async def test_F85_what_is_no_conflict_is_not_tried_again(database_url: str) -> None:
    async with open_service(database_url) as service, conflicts(database_url, 1, "57014") as admin:
        assert_problem(await service.call("POST", PATH, payment("101", "A-1")), 503, "unavailable")
        assert await admin.fetchval("SELECT last_value FROM conflicts") == 1


async def test_F92_terminals_refused_at_the_same_time_get_different_times_to_retry() -> None:
    database = Database("postgresql://u@127.0.0.1:1/none")
    transport = httpx.ASGITransport(create_app(make_context(database, VirtualClock())))
    key = {"Authorization": "Bearer tw_terminal_x"}
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://tapwatt.test") as http:
            answers = [await http.post(PATH, json=payment("101", "A-1"), headers=key) for _ in range(60)]
        assert {answer.status_code for answer in answers} == {503}
        assert len({answer.headers["retry-after"] for answer in answers}) > 2
    finally:
        await database.close()
