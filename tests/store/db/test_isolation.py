"""Tests of app/store/tables/isolation.

PostgreSQL itself keeps operators apart: what a transaction may see and write, whatever its statements ask for.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress

import asyncpg
import pytest
from sqlalchemy import delete, text, update

from app.flows.admin.database_checks import warn_if_unbound
from app.store.db import suitability
from app.store.db.connect import ServerConnection
from app.store.db.connection import Connection
from app.store.db.database import Database
from app.store.db.roles import let_in, verifier
from app.store.db.scope import EVERY, NONE, limited_to
from app.store.db.suitability import DatabaseUnsuitable
from app.store.operators import terminals
from app.store.sessions import payment_sessions
from app.store.tables import metadata, terminal_charge_points
from app.store.tables import payment_sessions as sessions_table
from app.store.tables.isolation import OWNER_COLUMNS, SHARED
from tests.conftest import PATIENCE_S
from tests.postgres import as_owner, as_superuser, as_user
from tests.store.pooler import PGBOUNCER, pooler
from tests.store.rows import OP_ONE, OP_OTHER, TRM_OTHER, a_session, provisioned, record

pytestmark = pytest.mark.anyio

PROTECTED = sorted(table.name for table in metadata.sorted_tables if table.name not in SHARED)
COUNTS = text(
    " UNION ALL ".join(
        f"SELECT '{name}' AS name, {OWNER_COLUMNS.get(name, 'operator_id')} AS operator FROM {name}"
        for name in PROTECTED
    )
)
FOREIGN_KEYS = """
SELECT conname, ARRAY(SELECT attname FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY (conkey)) AS columns
  FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace
"""
SEEN_TWICE = (
    "SELECT rolname FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolbypassrls)"
    " UNION ALL SELECT relname FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner"
    " WHERE rolname = current_user AND relnamespace = 'public'::regnamespace"
)


@pytest.fixture
async def two(database_url: str) -> AsyncIterator[Database]:
    """A database with a session of each of two operators."""
    async with provisioned(database_url) as database:
        await record(database, a_session("mine"))
        theirs = a_session("theirs", terminal=TRM_OTHER, operator_id=OP_OTHER)
        await record(database, theirs)
        yield database


async def owners(database: Database) -> set[tuple[str, str]]:
    """Tables, and whose rows of them are visible."""
    async with database.read() as connection:
        return {(row.name, row.operator) for row in await connection.execute(COUNTS)}


async def test_the_services_user_is_no_superuser_bypasses_nothing_and_owns_no_table(two: Database) -> None:
    async with two.read() as connection:
        assert (await connection.execute(text("SELECT current_user"))).scalar() == "tapwatt_service"
        assert (await connection.execute(text(SEEN_TWICE))).scalars() == []


async def test_every_foreign_key_carries_the_operator(database_url: str) -> None:
    connection = await asyncpg.connect(as_superuser(database_url))
    try:
        found = await connection.fetch(FOREIGN_KEYS)
    finally:
        await connection.close()
    assert len(found) > 15
    without = [row["conname"] for row in found if "operator_id" not in row["columns"]]
    assert without == ["fk_console_sessions_ops_key_id"], "found by a token, before an operator is known"


async def test_of_each_table_only_the_operators_own_rows_are_visible(two: Database) -> None:
    everything = await owners(two)
    assert {name for name, _ in everything} >= {
        "operators",
        "terminals",
        "payment_sessions",
        "holds",
        "journal",
    }
    assert {operator for _, operator in everything} == {OP_ONE, OP_OTHER}
    for operator in (OP_ONE, OP_OTHER):
        with limited_to(operator):
            assert await owners(two) == {row for row in everything if row[1] == operator}
    with limited_to(NONE):
        assert await owners(two) == set()


@pytest.mark.parametrize("table", PROTECTED)
async def test_no_row_of_another_operator_can_be_written(two: Database, table: str) -> None:
    column = OWNER_COLUMNS.get(table, "operator_id")
    with limited_to(OP_ONE), pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        async with two.transaction() as connection:
            await connection.execute(text(f"INSERT INTO {table} ({column}) VALUES ('{OP_OTHER}')"))


async def test_a_flow_that_forgot_to_ask_whose_session_it_is_finds_and_changes_nothing(two: Database) -> None:
    others, every_session = "ps_theirs", update(sessions_table).values(status="completed")
    with limited_to(OP_ONE):
        async with two.transaction() as connection:
            assert await payment_sessions.lock(connection, others) is None  # type: ignore[arg-type]
            assert await payment_sessions.get(connection, others) is None  # type: ignore[arg-type]
            assert await terminals.terminal_by_id(connection, TRM_OTHER) is None
            assert (await connection.execute(every_session)).rowcount == 1
            assert (await connection.execute(delete(terminal_charge_points))).rowcount == 4


async def test_a_connection_keeps_nothing_of_the_operator_before(database_url: str) -> None:
    """One connection for all: reads, transactions, those that fail, and reads that are cancelled on the way."""
    async with provisioned(database_url) as setup:
        await record(setup, a_session("mine"))
    database = Database(database_url, pool_size=1)
    try:
        for operator in (OP_ONE, OP_OTHER, EVERY, NONE, OP_OTHER, OP_ONE):
            with limited_to(operator):
                seen = {name for _, name in await owners(database)}
                assert seen == ({OP_ONE, OP_OTHER} if operator == EVERY else {operator} - {NONE})
                with suppress(asyncpg.PostgresError):
                    async with database.transaction() as connection:
                        shown = await connection.execute(text("SELECT id FROM operators"))
                        assert set(shown.scalars()) == seen
                        await connection.execute(text("SELECT 1/0"))
                reading = asyncio.create_task(owners(database))
                await asyncio.sleep(0)
                reading.cancel()
                await asyncio.wait([reading])
    finally:
        await database.close()


async def cancelled_as_its_scope_is_set(
    read: Coroutine[object, object, object], *, arrives: bool = True
) -> None:
    """Cancels a read before the answer to its SET has come: this process cannot know whether that `arrives`."""
    execute, done = ServerConnection.execute, asyncio.Event()

    async def unanswered(self: ServerConnection, statement: str, *values: object) -> object:
        if not statement.startswith("SET "):
            return await execute(self, statement, *values)
        if arrives:
            await execute(self, statement, *values)
        done.set()
        return await asyncio.Event().wait()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ServerConnection, "execute", unanswered)
        reading = asyncio.ensure_future(read)
        async with asyncio.timeout(PATIENCE_S):
            await done.wait()
        reading.cancel()
        await asyncio.wait([reading])


async def test_a_connection_whose_read_is_cancelled_as_its_scope_is_set_is_closed(two: Database) -> None:
    """A statement may still be under way on it."""
    with limited_to(OP_ONE):
        mine = await owners(two)
        (raw,) = two._pool._idle
    with limited_to(OP_OTHER):
        await cancelled_as_its_scope_is_set(owners(two))
    assert raw.is_closed()
    with limited_to(OP_ONE):
        assert await owners(two) == mine


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_scope_that_may_have_been_set_is_set_anew_before_the_next_read(
    two: Database, arrives: bool
) -> None:
    """Whoever gets the connection, of whichever operator: whose rows it shows is not known any more."""
    owner = text("SELECT DISTINCT operator_id FROM payment_sessions")
    async with two.read() as lent:

        async def shown(operator: str) -> list[str]:
            with limited_to(operator):
                return (await Connection(lent.raw, begins=False).execute(owner)).scalars()

        for next_one in (OP_ONE, OP_OTHER):
            assert await shown(OP_ONE) == [OP_ONE]
            await cancelled_as_its_scope_is_set(shown(OP_OTHER), arrives=arrives)
            assert await shown(next_one) == [next_one]


@pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed")
async def test_operators_stay_apart_through_a_pooler(two: Database, database_url: str) -> None:
    async with pooler(database_url, "transaction", default_pool_size="1") as url:
        database = Database(url)
        try:
            for operator in (OP_ONE, OP_OTHER, NONE):
                with limited_to(operator):
                    assert {name for _, name in await owners(database)} == {operator} - {NONE}
        finally:
            await database.close()


async def test_migrating_makes_the_services_user_with_its_password_and_gives_it_rows_only(
    two: Database, database_url: str
) -> None:
    name = 'serve "it"'
    url = as_user(database_url, "serve%20%22it%22:p%20w'd")
    admin = await asyncpg.connect(as_superuser(database_url))
    try:
        with pytest.raises(DatabaseUnsuitable, match="does not exist"):
            await let_in(as_owner(database_url), url)
        await let_in(as_superuser(database_url), url)
        await let_in(as_owner(database_url), url)
        assert str(
            await admin.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = $1", name)
        ).startswith("SCRAM-SHA-256$4096:")
        service = Database(url)
        with limited_to(OP_ONE):
            assert {operator for _, operator in await owners(service)} == {OP_ONE}
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with service.transaction() as connection:
                await connection.execute(text("ALTER TABLE operators DISABLE ROW LEVEL SECURITY"))
        await service.close()
    finally:
        await admin.execute('DROP OWNED BY "serve ""it"""; DROP ROLE "serve ""it"""')
        await admin.close()


def test_a_password_is_known_to_the_server_by_its_verifier_only() -> None:
    assert "hunter2" not in verifier("hunter2")
    assert verifier("hunter2") != verifier("hunter2"), "the salt is a new one each time"
    with pytest.raises(DatabaseUnsuitable, match="ASCII"):
        verifier("pässword")


async def test_a_user_whom_row_level_security_does_not_bind_is_told(
    two: Database, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for url, words in ((database_url, ""), (as_owner(database_url), "row_level_security_is_off")):
        database = Database(url)
        await warn_if_unbound(database)
        await database.close()
        shown = capsys.readouterr()
        assert words in shown.out + shown.err
        assert bool(words) == ("row_level" in shown.out + shown.err)


async def test_the_services_user_may_do_all_that_the_service_needs(two: Database) -> None:
    async with two.read() as connection:
        assert await suitability.is_bound(connection)
        await suitability.check(connection)  # does not raise
