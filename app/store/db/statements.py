"""Compiles SQLAlchemy statements once to asyncpg's SQL. With $1, $2, ... and puts their values in that order."""

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Executable,
    Insert,
    Table,
    TextClause,
    any_,
    bindparam,
    func,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.util import LRUCache

from app.domain.units.frozen import frozen

MOST_COMPILED = 500
"""Statements of different shapes that are kept compiled; there are about 200."""

_DIALECT: Any = PGDialect_asyncpg()  # type: ignore[no-untyped-call]
_COMPILED: Any = LRUCache(MOST_COMPILED)
"""Compiled statements by their shape, for statements that are built anew by each call."""
_KNOWN: WeakKeyDictionary[Executable, "dict[tuple[str, ...], Statement]"] = WeakKeyDictionary()
"""The same by the statement itself, for those that are built once."""

Params = Mapping[str, Any]


@frozen
class Statement:
    """SQL as asyncpg takes it, with the statement's own values."""

    sql: str
    returns_rows: bool
    constants: tuple[Any, ...]
    """One for each parameter of the SQL; None where the caller gives it."""
    given: tuple[tuple[int, str], ...]
    """Place and name of the values that the caller gives."""

    def values(self, params: Params) -> list[Any]:
        """All values in the order of $1, $2, ..."""
        values = list(self.constants)
        for place, name in self.given:
            values[place] = params[name]
        return values


def compiled(statement: Executable, params: Params) -> Statement:
    """Compiles a statement for these parameters, or returns it from the cache.

    Raises TypeError for an IN list of values, whose SQL would change with its length: use `is_any`.
    """
    by_names = _KNOWN.get(statement)
    if by_names is None:
        by_names = _KNOWN[statement] = {}
    names = tuple(params)
    known = by_names.get(names)
    if known is None:
        known = by_names[names] = _compile(statement, params)
    return known


def _compile(statement: Any, params: Params) -> Statement:
    # SQLAlchemy's own cache of statements, as its engine uses it. An INSERT is compiled as if for many rows, else it
    # would return its primary key unasked.
    inserts = isinstance(statement, Insert) and not statement._returning
    sql: SQLCompiler
    sql, extracted, collected, _ = statement._compile_w_cache(
        _DIALECT, compiled_cache=_COMPILED, column_keys=list(params), for_executemany=inserts
    )
    if sql.post_compile_params or sql.literal_execute_params:
        raise TypeError("a list of values is written `is_any(column, values)`")
    values = sql.construct_params(
        dict(params), extracted_parameters=extracted, escape_names=False, _collected_params=collected
    )
    order = sql.positiontup or []
    changes = sql.isinsert or sql.isupdate or sql.isdelete
    return Statement(
        sql=sql.string,
        returns_rows=isinstance(statement, TextClause) or not changes or bool(sql.effective_returning),
        constants=tuple(None if name in params else values[name] for name in order),
        given=tuple((place, name) for place, name in enumerate(order) if name in params),
    )


def is_any(column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """The condition that a column has one of these values. Its SQL is the same for every number of them."""
    return column == any_(_array(column, values))


def is_any_given(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """The same for values that the caller gives as a list under this name."""
    return column == any_(bindparam(name, type_=ARRAY(column.type)))


def are_any(columns: Sequence[ColumnElement[Any]], rows: Sequence[Sequence[Any]]) -> ColumnElement[bool]:
    """Builds the condition that columns together match one of these rows."""
    arrays = [_array(column, [row[n] for row in rows]) for n, column in enumerate(columns)]
    wanted = func.unnest(*arrays).table_valued(*(f"value_{n}" for n in range(len(columns)))).render_derived()
    return tuple_(*columns).in_(select(*wanted.c))


def _array(column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[Any]:
    return bindparam(None, list(values), type_=ARRAY(column.type))


def insert_rows(table: Table, *names: str) -> Any:
    """An INSERT of any number of rows in one statement. Its parameters are a list of values for each column."""
    rows = given_rows({name: table.c[name] for name in names})
    return insert(table).from_select(names, select(*(rows.c[name] for name in names)))


def given_rows(columns: Mapping[str, ColumnElement[Any]], place: str | None = None) -> Any:
    """Rows from parameters: a list of values for each of these names. `place` names a column that counts them."""
    arrays = [bindparam(name, type_=ARRAY(column.type)) for name, column in columns.items()]
    return func.unnest(*arrays).table_valued(*columns, with_ordinality=place).render_derived()


def given_row(columns: Mapping[str, ColumnElement[Any]]) -> Any:
    """One row from parameters: a value for each of these names."""
    return select(*(bindparam(name, type_=c.type).label(name) for name, c in columns.items())).subquery()


def by_column(rows: Sequence[Params], names: Sequence[str]) -> dict[str, list[Any]]:
    """The parameters of `insert_rows` for rows."""
    return {name: [row[name] for row in rows] for name in names}
