"""Tests of app/store/db/suitability.

F112: Tapwatt behind PgBouncer, and databases that it cannot work with: named in one sentence.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg
import pytest
from sqlalchemy import text

from app.embedded.cluster import OWNER
from app.store.db import suitability
from app.store.db.connect import SERVER_BOUNDS, NotWritable, Silent, is_pooled
from app.store.db.database import DATABASE_ERRORS, Database
from app.store.db.listener import ECHO_CHANNEL, Listener
from app.store.db.pool import PoolTimeout
from app.store.db.schema import migrate
from app.store.db.suitability import DatabaseUnsuitable, Facts, explain, unsuitable
from tests.conftest import PATIENCE_S
from tests.postgres import TEMPLATE, TestCluster, as_superuser
from tests.store.pooler import needs_pgbouncer, pooler
from tests.store.small_pooler import small_pooler

pytestmark = pytest.mark.anyio

BOUND_NAMES = ",".join(SERVER_BOUNDS)
MODES = {
    "transaction": {},
    "transaction, start-up parameters ignored": {"ignore_startup_parameters": BOUND_NAMES},
    "session, start-up parameters ignored": {
        "ignore_startup_parameters": BOUND_NAMES,
        "default_pool_size": "40",
    },
}


@pytest.fixture
def empty_url(cluster: TestCluster) -> Iterator[str]:
    with cluster.database() as url:
        yield url


@pytest.fixture
def another_url(migrated_cluster: TestCluster) -> Iterator[str]:
    with migrated_cluster.database(TEMPLATE) as url:
        yield url


@pytest.fixture
def latin_url(cluster: TestCluster) -> Iterator[str]:
    cluster.execute("CREATE DATABASE test_latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    yield cluster.url_of("test_latin")
    cluster.execute("DROP DATABASE test_latin WITH (FORCE)")


@pytest.fixture
def strangers_url(cluster: TestCluster, database_url: str) -> Iterator[str]:
    """As a user who has no rights at all."""
    cluster.execute("CREATE ROLE stranger LOGIN")
    yield as_superuser(database_url).replace("postgres@", "stranger@")
    cluster.execute("DROP ROLE stranger")


@asynccontextmanager
async def opened(url: str, **more: str) -> AsyncIterator[Database]:
    database = Database(url, **more)  # type: ignore[arg-type]
    try:
        yield database
    finally:
        await database.close()


async def work(database: Database, number: int) -> None:
    """Statements of several shapes again and again, each transaction on another of the pooler's connections."""
    for turn in range(10):
        async with database.transaction() as connection:
            answer = await connection.execute(text("SELECT CAST(:a AS integer) + 1"), {"a": number})
            assert answer.scalar() == number + 1
            rows = [{"id": f"{number}-{turn}-{n}"} for n in range(3)]
            await connection.execute(text("INSERT INTO watchers VALUES (:id, now(), now())"), rows)
            await connection.execute(text("SELECT * FROM inbox WHERE id = ANY(:ids)"), {"ids": [1, 2]})


async def bounds_of(database: Database) -> dict[str, str]:
    async with database.transaction() as connection:
        query = text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names)")
        rows = await connection.execute(query, {"names": list(SERVER_BOUNDS)})
        assert await suitability.missing_bounds(connection) == []
        return {row.name: row.setting for row in rows}


@needs_pgbouncer
@pytest.mark.parametrize("mode", MODES)
async def test_F112_behind_pgbouncer_all_works_and_every_transaction_has_its_bounds(
    database_url: str, mode: str
) -> None:
    async with (
        pooler(database_url, mode.split(",", maxsplit=1)[0], **MODES[mode]) as url,
        opened(url) as database,
    ):
        await asyncio.gather(*(work(database, n) for n in range(15)))
        assert await bounds_of(database) == SERVER_BOUNDS
        async with database.transaction() as connection:
            await suitability.check(connection)
            raw = connection.raw
            assert is_pooled(raw)


@needs_pgbouncer
async def test_F112_migrations_go_through_pgbouncer_again_and_again(empty_url: str) -> None:
    async with pooler(empty_url, "transaction", user=OWNER) as url:
        for _ in range(2):
            await asyncio.to_thread(migrate, url)
        async with opened(url) as database:
            await work(database, 1)


@needs_pgbouncer
async def test_F112_statement_mode_is_named_by_everything(database_url: str) -> None:
    async with pooler(database_url, "statement") as url, opened(url) as database:
        with pytest.raises(DATABASE_ERRORS) as raised:
            await work(database, 1)
        assert "pool_mode = transaction" in explain(raised.value)
        with pytest.raises(DATABASE_ERRORS) as raised:
            await asyncio.to_thread(migrate, url)
        assert "pool_mode = transaction" in explain(raised.value)


@needs_pgbouncer
async def test_F112_notifications_arrive_around_the_pooler_and_one_that_swallows_them_is_named(
    database_url: str,
) -> None:
    received: asyncio.Queue[str] = asyncio.Queue()
    async with pooler(database_url, "transaction", default_pool_size="2") as url:

        async def say(word: str) -> None:
            async with database.transaction() as connection:
                await connection.execute(text("SELECT pg_sleep(0.01)"))
                connection.notify(ECHO_CHANNEL, word)

        async with opened(url, listen_url=database_url) as database:
            around = Listener(database.listen_host, {"tapwatt_test": received.put_nowait}, echo=say)
            async with listening(around):
                assert await asyncio.wait_for(received.get(), PATIENCE_S) == ""
                async with database.transaction() as connection:
                    connection.notify("tapwatt_test", "ps_1")
                assert await asyncio.wait_for(received.get(), PATIENCE_S) == "ps_1"
                assert around.problem is None
            through = Listener(database.host, {"tapwatt_test": received.put_nowait})
            async with listening(through):
                await until(lambda: "TAPWATT_LISTEN_DATABASE_URL" in (through.problem or ""))


async def test_F112_where_we_listen_must_be_the_database_that_we_write_to(
    database_url: str, another_url: str
) -> None:
    async with opened(database_url, listen_url=another_url) as database:

        async def say(word: str) -> None:
            async with database.transaction() as connection:
                connection.notify(ECHO_CHANNEL, word)

        wrong = Listener(database.listen_host, {}, echo=say, echo_s=0.3)
        right = Listener(database.host, {}, echo=say)
        async with listening(wrong), listening(right):
            await until(lambda: "do not arrive" in (wrong.problem or ""))
            assert right.problem is None


@asynccontextmanager
async def listening(listener: Listener) -> AsyncIterator[None]:
    task = asyncio.create_task(listener.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(done: Callable[[], bool]) -> None:
    for _ in range(500):
        if done():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not come within 5 s")


# Without PgBouncer: what poolers do to a connection's beginning


@pytest.mark.parametrize("refuses", [True, False])
async def test_F112_a_pooler_is_recognized_whether_it_refuses_or_drops_start_up_parameters(
    database_url: str, refuses: bool
) -> None:
    async with small_pooler(database_url, refuses=refuses) as (url, between), opened(url) as database:
        await asyncio.gather(*(work(database, n) for n in range(5)))
        assert await bounds_of(database) == SERVER_BOUNDS
        between.names.clear()
        await database.close()
        await work(database, 99)
        assert between.names == {b""}, "a statement with a name may meet another client's"


async def test_F112_without_a_pooler_nothing_is_set_by_transactions(database_url: str) -> None:
    async with opened(database_url) as database, database.transaction() as connection:
        raw = connection.raw
        assert not is_pooled(raw)
        query = text("SELECT name FROM pg_settings WHERE name = ANY(:names) AND source <> 'client'")
        assert (await connection.execute(query, {"names": list(SERVER_BOUNDS)})).all() == []


async def test_F112_bounds_that_something_on_the_way_drops_are_noticed(database_url: str) -> None:
    async with (
        small_pooler(database_url, forgets=True) as (url, _),
        opened(url) as database,
        database.transaction() as connection,
    ):
        assert await suitability.missing_bounds(connection) == sorted(SERVER_BOUNDS)


GOOD = Facts(
    version=180003, encoding="UTF8", is_standby=False, is_read_only=False, has_schema=True, may_create=True
)
UNSUITABLE = {
    "too old": (replace(GOOD, version=160004), "PostgreSQL 16.4"),
    "much too old": (replace(GOOD, version=130000), "17 or newer"),
    "encoding": (replace(GOOD, encoding="SQL_ASCII"), "ENCODING 'UTF8'"),
    "latin": (replace(GOOD, encoding="LATIN1"), "LATIN1"),
    "standby": (replace(GOOD, is_standby=True), "name the primary"),
    "read-only": (replace(GOOD, is_read_only=True), "default_transaction_read_only"),
    "schema": (replace(GOOD, has_schema=False), "GRANT USAGE"),
    "tables": (replace(GOOD, forbidden=["a", "b", "c", "d"]), "a, b, c, ..."),
}


@pytest.mark.parametrize("case", UNSUITABLE)
@pytest.mark.parametrize("to_migrate", [True, False])
def test_F112_what_does_not_fit_is_named_in_one_sentence(case: str, to_migrate: bool) -> None:
    facts, words = UNSUITABLE[case]
    told = unsuitable(facts, to_migrate=to_migrate)
    assert told is not None
    assert words in told
    assert told.endswith(".")


def test_F112_who_may_not_create_tables_can_serve_but_not_migrate() -> None:
    assert unsuitable(GOOD, to_migrate=True) is None
    cannot = replace(GOOD, may_create=False)
    assert unsuitable(cannot, to_migrate=False) is None
    assert "GRANT CREATE" in str(unsuitable(cannot, to_migrate=True))


async def test_F112_a_real_servers_facts_are_read(database_url: str, latin_url: str) -> None:
    async with opened(database_url) as database, database.transaction() as connection:
        await suitability.check(connection)
        with pytest.raises(DatabaseUnsuitable, match="TAPWATT_OWNER_DATABASE_URL"):
            await suitability.check(connection, to_migrate=True)
    with pytest.raises(DatabaseUnsuitable, match="LATIN1"):
        await asyncio.to_thread(migrate, latin_url)


async def test_F112_the_missing_rights_of_a_user_are_named(strangers_url: str) -> None:
    async with opened(strangers_url) as database, database.transaction() as connection:
        with pytest.raises(DatabaseUnsuitable, match="may not read and write"):
            await suitability.check(connection)
    with pytest.raises(DatabaseUnsuitable, match="GRANT CREATE"):
        await asyncio.to_thread(migrate, strangers_url)


EXPLAINED = {
    "refused": (ConnectionRefusedError("Connect call failed"), "No server listens"),
    "no socket": (FileNotFoundError(), "No server listens"),
    "name": (socket.gaierror(-2, "Name or service not known"), "host name"),
    "silent": (Silent("the server does not answer"), "does not answer"),
    "late": (TimeoutError(), "does not answer"),
    "busy": (PoolTimeout(), "in use"),
    "standby": (NotWritable("the server takes no writes"), "standby"),
    "unsuitable": (DatabaseUnsuitable("Like this."), "Like this."),
    "unknown": (asyncpg.InterfaceError("hunter2"), "InterfaceError"),
}


@pytest.mark.parametrize("case", EXPLAINED)
def test_F112_connection_errors_are_explained_by_their_kind(case: str) -> None:
    error, words = EXPLAINED[case]
    told = explain(error)
    assert words in told
    assert "hunter2" not in told
    assert told.endswith(".")


@pytest.mark.parametrize(
    ("state", "message", "words"),
    [
        ("28P01", "password authentication failed for user hunter2", "password"),
        ("28000", "no pg_hba.conf entry for host hunter2", "pg_hba.conf"),
        ("3D000", 'database "hunter2" does not exist', "CREATE DATABASE"),
        ("42704", 'unrecognized configuration parameter "transaction_timeout"', "17 or newer"),
        ("42501", "permission denied for table inbox", "right"),
        ("25006", "cannot execute INSERT in a read-only transaction", "standby"),
        ("53300", "too many clients already", "max_connections"),
        ("53100", "could not extend file: No space left on device", "disk"),
        ("57P03", "the database system is starting up", "starting up"),
        ("08P01", "transaction blocks not allowed in statement pooling mode", "pool_mode = transaction"),
        ("08P01", "unsupported startup parameter: timezone", "ignore_startup_parameters"),
        ("08P01", "no such database: hunter2", "[databases]"),
        ("08P01", "no such user: hunter2", "auth_file"),
        ("08P01", "query_wait_timeout", "default_pool_size"),
        ("42P05", 'prepared statement "__asyncpg_stmt_1__" already exists', "pooler"),
        ("XX000", "hunter2", "It does not work"),
    ],
)
def test_F112_an_error_is_explained_by_the_servers_message_also_when_it_is_wrapped(
    state: str, message: str, words: str
) -> None:
    said = asyncpg.PostgresError.new({"C": state, "M": message, "S": "FATAL"})
    for error in (said, _caused_by(said)):
        told = explain(error)
        assert words in told
        assert "hunter2" not in told


def _caused_by(error: BaseException) -> BaseException:
    wrapped = ConnectionError("closed in the middle of operation")
    wrapped.__cause__ = error
    return wrapped
