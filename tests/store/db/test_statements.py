"""Statements are compiled once and get their values in order; rows have attributes; errors have no values."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import asyncpg
import pytest
from sqlalchemy import bindparam, delete, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as pg_insert

from app.store.db import statements
from app.store.db.connection import Connection, NotOneRow
from app.store.db.database import DATABASE_ERRORS, Database, is_away, sqlstate_of
from app.store.db.documents import RawJson
from app.store.db.statements import are_any, by_column, compiled, insert_rows, is_any
from app.store.tables import inbox, operators, watchers
from tests.store.rows import NOW, OP_ONE, provisioned

pytestmark = pytest.mark.anyio

W = watchers.c


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    async with provisioned(url) as database, database.transaction() as connection:
        yield connection


def rows(*ids: str) -> list[dict[str, object]]:
    return [{"id": each, "started_at": NOW, "seen_at": NOW} for each in ids]


def test_a_statement_that_is_built_once_is_compiled_once_for_each_set_of_names() -> None:
    statement = update(watchers).where(W.id == bindparam("watcher"))
    once = compiled(statement, {"watcher": "a", "seen_at": NOW})
    assert compiled(statement, {"watcher": "b", "seen_at": None}) is once
    assert once.values({"watcher": "b", "seen_at": NOW}) == [NOW, "b"]
    assert compiled(statement, {"watcher": "a", "started_at": NOW}) is not once


def test_statements_of_one_shape_share_their_sql_and_keep_their_own_values() -> None:
    one, two = (compiled(select(W.id).where(W.id == each).limit(3), {}) for each in ("a", "b"))
    assert one.sql is two.sql
    assert (one.values({}), two.values({})) == (["a", 3], ["b", 3])


def test_a_statement_made_from_another_one_is_not_mistaken_for_it() -> None:
    one = select(W.id).where(W.id == "a")
    before = compiled(one, {})
    assert "FOR UPDATE" in compiled(one.with_for_update(), {}).sql
    assert compiled(one, {}) is before


def test_what_was_compiled_for_one_call_is_not_kept_with_its_values() -> None:
    gc.collect()
    known = len(statements._KNOWN)
    for number in range(100):
        compiled(select(W.id).where(W.id == f"{number}"), {})
    gc.collect()
    assert len(statements._KNOWN) <= known + 1, "SQLAlchemy keeps the first one of a shape"


def test_a_list_of_values_does_not_change_the_sql() -> None:
    assert compiled(select(W.id).where(is_any(W.id, ["a"])), {}).sql == (
        compiled(select(W.id).where(is_any(W.id, ["a", "b"])), {}).sql
    )
    with pytest.raises(TypeError, match="is_any"):
        compiled(select(W.id).where(W.id.in_(["a", "b"])), {})


def test_an_insert_returns_nothing_unasked() -> None:
    statement = compiled(insert(inbox), {"operator_id": "o", "dedupe_key": "k"})
    assert (statement.returns_rows, "RETURNING" in statement.sql) == (False, False)


async def test_conditions_over_lists_of_values(database_url: str) -> None:
    async with connected(database_url) as connection:
        await connection.execute(insert(watchers), rows("a", "b", "c"))

        async def found(condition: object) -> list[str]:
            query = select(W.id).where(condition).order_by(W.id)  # type: ignore[arg-type]
            return (await connection.execute(query)).scalars()

        assert await found(is_any(W.id, ["c", "a", "x"])) == ["a", "c"]
        assert await found(is_any(W.id, [])) == []
        assert await found(are_any((W.id, W.seen_at), [("a", NOW), ("b", NOW.replace(year=2000))])) == ["a"]


async def test_rows_are_inserted_in_one_statement_in_their_order_and_those_that_are_new_returned(
    database_url: str,
) -> None:
    names = ("operator_id", "dedupe_key", "received_at", "raw", "problem")
    keep = insert_rows(inbox, *names).on_conflict_do_nothing().returning(inbox.c.dedupe_key)

    def entries(*keys: str) -> dict[str, list[object]]:
        made = [(OP_ONE, key, NOW, {"key": key, "n": Decimal("0.5")}, None) for key in keys]
        return by_column([dict(zip(names, row, strict=True)) for row in made], names)

    async with connected(database_url) as connection:
        assert (await connection.execute(keep, entries("b", "a"))).scalars() == ["b", "a"]
        assert (await connection.execute(keep, entries("a", "c"))).scalars() == ["c"]
        kept = await connection.execute(select(inbox.c.raw, inbox.c.problem).order_by(inbox.c.id))
        assert [(row.raw["key"], row.raw["n"], row.problem) for row in kept] == [
            (key, Decimal("0.5"), None) for key in ("b", "a", "c")
        ]


async def test_many_rows_with_an_upsert_and_counts(database_url: str) -> None:
    upsert = pg_insert(watchers).on_conflict_do_nothing()
    async with connected(database_url) as connection:
        await connection.execute(upsert, rows("a", "b"))
        await connection.execute(upsert, rows("b", "c", "d"))
        assert (await connection.execute(update(watchers).values(seen_at=NOW))).rowcount == 4
        assert (await connection.execute(delete(watchers).where(W.id == "x"))).rowcount == 0


async def test_rows_have_their_columns_as_attributes_and_keys(database_url: str) -> None:
    async with connected(database_url) as connection:
        result = await connection.execute(select(operators.c.id, operators.c.name).order_by(operators.c.id))
        row = result.all()[0]
        assert (row.id, row["id"], row[0], dict(row)["id"]) == (OP_ONE,) * 4
        with pytest.raises(AttributeError):
            row.nothing  # noqa: B018
        with pytest.raises(NotOneRow):
            result.one()
        with pytest.raises(NotOneRow):
            result.one_or_none()


async def test_json_that_is_text_already_is_sent_as_it_is(database_url: str) -> None:
    query = text("SELECT CAST(:document AS jsonb) AS document")
    async with connected(database_url) as connection:
        for document in (RawJson('{"a": [1, 0.25, null]}'), {"a": [1, Decimal("0.25"), None]}):
            found = (await connection.execute(query, {"document": document})).scalar_one()
            assert found == {"a": [1, Decimal("0.25"), None]}
        assert (await connection.execute(query, {"document": None})).scalar_one() is None


WITH_VALUES = {
    "wrong type": (select(W.id).where(W.seen_at == bindparam("at")), {"at": "4111-canary"}),
    "invalid text": (text("SELECT CAST(CAST(:at AS text) AS integer)"), {"at": "4111-canary"}),
    "row": (text("INSERT INTO watchers (id) VALUES (:at)"), {"at": "4111-canary"}),
    "key": (insert(watchers), rows("4111-canary", "4111-canary")),
    "not json": (text("SELECT CAST(:at AS jsonb)"), {"at": RawJson("4111-canary")}),
}


@pytest.mark.parametrize("case", WITH_VALUES)
async def test_errors_do_not_repeat_the_values_of_parameters_and_rows(database_url: str, case: str) -> None:
    statement, params = WITH_VALUES[case]
    async with provisioned(database_url) as database:
        with pytest.raises(DATABASE_ERRORS) as failed:
            async with database.transaction() as connection:
                await connection.execute(statement, params)  # type: ignore[arg-type]
        assert not is_away(failed.value)
        each: BaseException | None = failed.value
        while each is not None:
            assert "4111-canary" not in f"{each} {vars(each)}"
            each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)


@pytest.mark.parametrize("notifies", [False, True])
async def test_a_transaction_one_of_whose_statements_failed_is_not_taken_for_committed(
    database_url: str, notifies: bool
) -> None:
    async with provisioned(database_url) as database:

        async def go_on() -> None:
            async with database.transaction() as connection:
                if notifies:
                    connection.notify("one")
                with pytest.raises(asyncpg.UndefinedTableError):
                    await connection.execute(text("SELECT * FROM nothing"))

        with pytest.raises(asyncpg.InFailedSQLTransactionError):
            await go_on()
        assert database.connections_in_use == 0


async def test_notifications_follow_the_commit_in_a_transaction_of_their_own(database_url: str) -> None:
    """Within it, all others that notify would have to wait until its commit is on the disk."""
    sent: list[str] = []
    async with provisioned(database_url) as database, database.transaction() as connection:
        await connection.execute(text("SELECT 1"))
        connection.raw.add_query_logger(lambda record: sent.append(record.query))
        connection.notify("one", "ps_1")
    (ends,) = sent
    assert ends.index("COMMIT;") < ends.index("pg_notify('one', 'ps_1')")


async def test_a_read_needs_no_transaction_and_a_failed_one_leaves_the_connection_usable(
    database_url: str,
) -> None:
    async with provisioned(database_url) as database:

        async def fail() -> None:
            async with database.read() as connection:
                await connection.execute(text("SELECT 1"))
                assert not connection.raw.is_in_transaction()
                await connection.execute(text("SELECT 1 / 0"))

        for _ in range(2):
            with pytest.raises(asyncpg.DivisionByZeroError) as failed:
                await fail()
            assert sqlstate_of(failed.value) == "22012"
        async with database.read() as connection:
            assert (await connection.execute(text("SELECT 1"))).scalar() == 1
        assert database.connections_in_use == 0


async def test_a_password_or_a_database_that_is_refused_means_that_the_database_is_away(
    database_url: str,
) -> None:
    database = Database(database_url.replace("/test_", "/missing_"))
    with pytest.raises(asyncpg.InvalidCatalogNameError) as refused:
        async with database.read():
            pass
    assert is_away(refused.value)


async def test_notifications_arrive_with_the_commit_that_they_are_sent_with(database_url: str) -> None:
    heard: list[tuple[str, str]] = []
    async with provisioned(database_url) as database, database.read() as ear:
        await ear.raw.add_listener("one", lambda _c, _pid, channel, payload: heard.append((channel, payload)))
        await ear.raw.add_listener("two", lambda _c, _pid, channel, payload: heard.append((channel, payload)))
        async with database.transaction() as connection:
            await connection.execute(insert(watchers), rows("a"))
            connection.notify("one", "it's", "b\\'; DROP TABLE watchers; --")
        async with database.transaction() as connection:
            connection.notify("two")
        await ear.execute(text("SELECT 1"))
        assert heard == [("one", "it's"), ("one", "b\\'; DROP TABLE watchers; --"), ("two", "")]
        assert (await ear.execute(select(W.id))).scalars() == ["a"]
        ear.raw.terminate()


@pytest.mark.parametrize("how", ["terminated", "half dead"])
async def test_a_connection_that_was_ended_while_idle_is_replaced_without_an_error(
    database_url: str, how: str
) -> None:
    """Half dead: the server has ended it, but the loop has not read that yet."""
    cut = text("SELECT pg_terminate_backend(:pid, 1000)")
    async with provisioned(database_url) as database, database.read() as admin:
        for lend in (database.transaction, database.read):
            async with lend() as connection:
                pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
                raw = connection.raw
            if how == "half dead":
                raw._transport.pause_reading()
            assert (await admin.execute(cut, {"pid": pid})).scalar_one()
            async with lend() as connection:
                if how == "half dead":
                    raw._transport.resume_reading()
                assert (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one() != pid
        assert database.connections_in_use == 1
    assert database.connections_in_use == 0
