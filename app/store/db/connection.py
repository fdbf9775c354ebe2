"""Executes statements on a borrowed connection and gives their rows."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

import asyncpg
from sqlalchemy import Executable

from app.store.db import scope
from app.store.db.scope import SETTING
from app.store.db.statements import Params, Statement, compiled


class Row(asyncpg.Record):  # type: ignore[misc]  # asyncpg has no types
    """A row whose columns are also attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class NotOneRow(LookupError):
    """A statement that must return one row returned none, or several."""


class Result:
    """The rows of a statement, all of them read. `rowcount` counts them, or those that were changed."""

    __slots__ = ("_rows", "rowcount")

    def __init__(self, rows: Sequence[Any], rowcount: int | None = None) -> None:
        self._rows = rows
        self.rowcount = len(rows) if rowcount is None else rowcount

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def all(self) -> Sequence[Any]:
        return self._rows

    def first(self) -> Any:
        """The first row; None: there is none."""
        return self._rows[0] if self._rows else None

    def one_or_none(self) -> Any:
        """The row, None when there is none. Raises NotOneRow when there are several."""
        if len(self._rows) > 1:
            raise NotOneRow(f"{len(self._rows)} rows instead of one at most")
        return self.first()

    def one(self) -> Any:
        """Raises NotOneRow unless there is exactly one."""
        if len(self._rows) != 1:
            raise NotOneRow(f"{len(self._rows)} rows instead of one")
        return self._rows[0]

    def scalars(self) -> list[Any]:
        """The first column of every row."""
        return [row[0] for row in self._rows]

    def scalar(self) -> Any:
        """The first column of the first row; None: there is no row."""
        return self._rows[0][0] if self._rows else None

    def scalar_one(self) -> Any:
        """Raises NotOneRow unless there is exactly one row."""
        return self.one()[0]

    def scalar_one_or_none(self) -> Any:
        """Raises NotOneRow when there are several rows."""
        row = self.one_or_none()
        return None if row is None else row[0]


Rows: TypeAlias = Sequence[Params]
Replace: TypeAlias = Callable[[asyncpg.Connection], Awaitable[asyncpg.Connection]]
T = TypeVar("T")

CLOSED = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""What the first statement raises on a connection that the server has closed."""


class Connection:
    """A connection within `Database.transaction` or `Database.read`.

    A transaction begins with its first statement. Errors are asyncpg's, without the values of parameters and rows.
    """

    __slots__ = ("_begins", "_lock_ms", "_notifications", "_replace", "_scope", "began", "raw")

    def __init__(
        self,
        raw: asyncpg.Connection,
        *,
        begins: bool = True,
        replace: Replace | None = None,
        lock_ms: int | None = None,
    ) -> None:
        """`replace` lends another connection in place of one that the server has closed. `lock_ms`: the longest wait of
        this transaction for a locked row, instead of the usual one."""
        self.raw = raw
        self._lock_ms = lock_ms
        self._replace = replace
        self.began = False
        """Whether a statement was sent."""
        self._begins = begins
        self._scope = scope.current()
        self._notifications: list[str] = []

    @property
    def has_begun(self) -> bool:
        """Whether a transaction was begun."""
        return self.began and self._begins

    async def execute(self, statement: Executable, params: Params | Rows | None = None) -> Result:
        """Executes a statement and returns its rows.

        When `params` is a list of rows, executes it once for each in one round trip and returns nothing;
        `insert_rows` returns rows.
        """
        many = not (params is None or isinstance(params, dict))
        rows: Any = params if many else (params or {},)
        known = compiled(statement, rows[0])
        try:
            return await self.send(known, [known.values(row) for row in rows], many=many)
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            without_values(error)
            raise

    async def send(self, statement: Statement, values: list[list[Any]], *, many: bool) -> Result:
        """Sends a compiled statement with its values. Those of one execution or of many."""
        if not self.began:
            self.began = True
            if self._begins:
                await self._first(self._begin)
            else:
                return await self._first(lambda: self._read(statement, values, many=many))
        return await self._run(statement, values, many=many)

    async def _begin(self) -> None:
        """Begins a transaction and sets its scope, in one message. The scope: whose rows it may see."""
        narrow = "" if self.raw.scope == self._scope else f" SET LOCAL {SETTING} = {_quoted(self._scope)};"
        bound = "" if self._lock_ms is None else f" SET LOCAL lock_timeout = {self._lock_ms};"
        await self.raw.execute(f"BEGIN;{narrow}{bound}")

    async def _read(self, statement: Statement, values: list[list[Any]], *, many: bool) -> Result:
        """Reads without a transaction. The connection keeps the scope for the next reads of the same operator."""
        if self.raw.scope != self._scope:
            self.raw.scope = None  # unknown, should this be cancelled
            await self.raw.execute(f"SET {SETTING} = {_quoted(self._scope)};")
            self.raw.scope = self._scope
        return await self._run(statement, values, many=many)

    async def _first(self, work: Callable[[], Awaitable[T]]) -> T:
        """Begins or reads, repeated once on a connection closed while idle.

        An InterfaceError that is a ValueError is about a parameter.
        """
        try:
            return await work()
        except CLOSED as error:
            if self._replace is None or isinstance(error, TimeoutError | ValueError):
                raise
            self.raw = await self._replace(self.raw)
        return await work()

    async def _run(self, statement: Statement, values: list[list[Any]], *, many: bool) -> Result:
        if many:
            await self.raw.executemany(statement.sql, values)
            return Result(())
        if statement.returns_rows:
            return Result(await self.raw.fetch(statement.sql, *values[0], record_class=Row))
        status: str = await self.raw.execute(statement.sql, *values[0])
        count = status.rpartition(" ")[2]
        return Result((), int(count) if count.isdigit() else 0)

    def notify(self, channel: str, *payloads: str) -> None:
        """Notifies listeners right after this transaction commits, in the message that commits it.

        A transaction that notifies keeps all others that do from committing until its own commit is on the disk, so the
        notifications have one of their own, which writes nothing. A lost one only costs time: all listeners also poll.
        """
        self._notifications += [
            f"SELECT pg_notify({_quoted(channel)}, {_quoted(p)});" for p in payloads or ("",)
        ]

    async def commit(self) -> None:
        """Ends the transaction. Raises InFailedSQLTransactionError when one of its statements had failed."""
        notifications = "".join(self._notifications)
        # What follows a failed transaction's COMMIT would hide that nothing was committed; a statement before it fails.
        ends = ("SELECT;COMMIT;" if notifications else "COMMIT;") if self.has_begun else ""
        if not ends + notifications:
            return
        try:
            status = await self.raw.execute(ends + notifications)
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            without_values(error)
            raise
        if ends == "COMMIT;" and status != "COMMIT":
            raise asyncpg.InFailedSQLTransactionError("a statement failed, so nothing was committed")


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def without_values(error: Exception) -> None:
    """Removes values of parameters and rows from an error. It may be logged."""
    about_a_value = isinstance(error, ValueError | asyncpg.DataError)
    for field in ("detail", "hint", "context", *(("message",) if about_a_value else ())):
        if getattr(error, field, None) is not None:
            setattr(error, field, None)
    if about_a_value:
        error.args = ("a value does not fit its type in the statement",)
        error.__cause__ = None
        error.__suppress_context__ = True
