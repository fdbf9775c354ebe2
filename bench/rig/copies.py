"""Makes many sessions from one that the service itself made: its rows in all tables, with other ids."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg

NEVER = "'alembic_version', 'inbox', 'deliveries', 'watchers'"
"""Tables that are not copied: what came in is not the session's."""
ABOUT_OPERATORS = (
    "alembic_version",
    "api_keys",
    "charge_points",
    "hold_policies",
    "monta_budgets",
    "monta_tokens",
    "operator_jobs",
    "operators",
    "price_groups",
    "secret_keys",
    "tariffs",
    "terminal_charge_points",
    "terminals",
    "watchers",
)
"""Tables that a case keeps; all others are emptied before it."""
CHUNK = 2000
TRIES = 10
MULTIPLIED = {"payment_sessions": "id", "kept_readings": "session_id"}
"""What lists, searches and the watcher's looks for work read: tables, and their columns of the session's id."""


@dataclass(frozen=True)
class Original:
    """A session's keys and rows. Copies differ in the last digits of the keys only, so that rows keep their size."""

    session_id: str
    reference: str
    charge_point_id: str
    charge_id: str
    created_at: datetime
    tables: "dict[str, list[dict[str, Any]]]"

    def session(self, number: int) -> str:
        return _numbered(self.session_id, number, 12)

    @property
    def session_format(self) -> str:
        return self.session_id[:-12] + "%012d"

    @property
    def first_charge(self) -> int:
        """The charge id of the copy with number 0."""
        return int(self.charge_id) + 1

    def point(self, number: int) -> str:
        return str(int(self.charge_point_id) + 1 + number)

    def words(self, number: int, age: timedelta) -> dict[str, str]:
        """What stands in the copy instead of the original's words. `age`: how much earlier it was made."""
        changed = {
            self.session_id: self.session(number),
            self.reference: _numbered(self.reference, number, 9),
            self.charge_point_id: self.point(number),
        }
        if self.charge_id:
            changed[self.charge_id] = str(self.first_charge + number)
        if age:
            changed[self.created_at.isoformat()[:19]] = (self.created_at - age).isoformat()[:19]
        return changed


def _numbered(text: str, number: int, digits: int) -> str:
    return f"{text[:-digits]}{number:0{digits}d}"


async def original_of(connection: Any, shown: dict[str, Any]) -> Original:
    """Reads all rows that hold the session's id; `shown`: the session as the API answers it."""
    session_id = shown["id"]
    tables: dict[str, list[dict[str, Any]]] = {}
    for name in await _tables(connection):
        columns = await _columns(connection, name)
        query = f'SELECT {", ".join(columns)} FROM "{name}" AS t WHERE t::text LIKE $1'
        if rows := await connection.fetch(query, f"%{session_id}%"):
            tables[name] = [dict(each) for each in rows]
    return Original(
        session_id=session_id,
        reference=shown["authorization_reference"],
        charge_point_id=shown["charge_point_id"],
        charge_id=shown["charge"]["id"] if shown["charge"] else "",
        created_at=datetime.fromisoformat(shown["created_at"]),
        tables=tables,
    )


async def copy(
    connection: Any,
    original: Original,
    count: int,
    *,
    first: int = 0,
    apart: timedelta = timedelta(0),
    without: Collection[str] = (),
) -> None:
    """Inserts `count` copies, from number `first` on; each was made `apart` earlier than the one before it. `without`:
    tables that are left out."""
    await connection.execute("SET session_replication_role = replica")  # no foreign keys while loading
    for start in range(first, first + count, CHUNK):
        numbers = range(start, min(start + CHUNK, first + count))
        for table, rows in original.tables.items():
            if table in without:
                continue
            columns = list(rows[0])
            records = [
                tuple(row[column] for column in columns)
                for number in numbers
                for row in _changed(original, rows, number, apart)
            ]
            await connection.copy_records_to_table(table, records=records, columns=columns)
    await connection.execute("SET session_replication_role = DEFAULT")


async def multiply(connection: Any, original: Original, copied: int, count: int, *, apart: timedelta) -> None:
    """Makes the first `copied` copies into `count` within PostgreSQL, which is some twenty times quicker than `copy`.

    Only rows of MULTIPLIED; their documents keep the words of the first copies.
    """
    columns = {table: await _columns(connection, table) for table in MULTIPLIED}
    await connection.execute("SET session_replication_role = replica")
    while copied < count:
        more = min(copied, count - copied)
        new = _shifted(copied, apart)
        for table, key in MULTIPLIED.items():
            chosen = [new.get("id" if name == key else name, name).format(key=key) for name in columns[table]]
            await connection.execute(
                f"INSERT INTO {table} ({', '.join(columns[table])}) SELECT {', '.join(chosen)} FROM {table}"
                f' WHERE {key} COLLATE "C" BETWEEN $1 AND $2',
                original.session(0),
                original.session(more - 1),
            )
        copied += more
    await connection.execute("SET session_replication_role = DEFAULT")


def _shifted(by: int, apart: timedelta) -> dict[str, str]:
    """Columns of a copy as SQL, from those of the copy whose number is less by so much."""
    return {
        "id": f"left({{key}}, -12) || lpad((right({{key}}, 12)::bigint + {by})::text, 12, '0')",
        "reference": f"left(reference, -9) || lpad((right(reference, 9)::bigint + {by})::text, 9, '0')",
        "charge_id": f"(charge_id::bigint + {by})::text",
        "charge_point_id": f"(charge_point_id::bigint + {by})::text",
        "created_at": f"created_at - {by} * interval '{apart.total_seconds()} s'",
    }


def _changed(
    original: Original, rows: list[dict[str, Any]], number: int, apart: timedelta
) -> Iterator[dict[str, Any]]:
    age = apart * (number + 1)
    words = original.words(number, age)
    pattern = re.compile("|".join(map(re.escape, words)))

    def replaced(value: Any) -> Any:
        if isinstance(value, str):
            return pattern.sub(lambda found: words[found[0]], value)
        if isinstance(value, bytes):
            return pattern.sub(lambda found: words[found[0]], value.decode("latin-1")).encode("latin-1")
        return value - age if age and value == original.created_at else value

    for row in rows:
        yield {column: replaced(value) for column, value in row.items()}


async def spread_kept_readings(connection: Any, original: Original) -> None:
    """Leaves each copy the last 1, 2, 3, ... of the original's kept readings by turns. In service, sessions have begun at
    different times: of those whose readings come, a few are full in each second."""
    await connection.execute(
        "UPDATE kept_readings SET count = 1 + right(session_id, 12)::bigint % count,"
        " points = substring(points FROM length(points) + 1 - length(points) / count * (1 + right(session_id, 12)::integer % count))"
        " WHERE session_id <> $1 AND count > 0",
        original.session_id,
    )


async def copy_points(connection: Any, charge_point_id: str, count: int) -> int:
    """Gives the terminals of a charge point `count` more, alike; returns the id of the first one."""
    first = int(charge_point_id) + 1
    for table in ("charge_points", "terminal_charge_points"):
        columns = await _columns(connection, table)
        chosen = ", ".join("n::text" if column == "charge_point_id" else f"t.{column}" for column in columns)
        await connection.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {chosen} FROM {table} t,"
            " generate_series($2::bigint, $2::bigint + $3::bigint - 1) n WHERE t.charge_point_id = $1",
            charge_point_id,
            first,
            count,
        )
    return first


async def forget_sessions(connection: Any) -> None:
    """Empties every table that is not about operators. Again when the watcher's transactions were in the way."""
    names = [name for name in await _tables(connection, everything=True) if name not in ABOUT_OPERATORS]
    # What is evidence elsewhere is emptied here.
    await connection.execute("SET session_replication_role = replica")
    for tries_left in reversed(range(TRIES)):
        try:
            await connection.execute(f"TRUNCATE {', '.join(names)} CASCADE")
            break
        except asyncpg.DeadlockDetectedError:
            if not tries_left:
                raise
    await connection.execute("SET session_replication_role = DEFAULT")


async def _tables(connection: Any, *, everything: bool = False) -> list[str]:
    rows = await connection.fetch(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
        + ("" if everything else f" AND c.relname NOT IN ({NEVER})")
    )
    return [str(row["relname"]) for row in rows]


async def _columns(connection: Any, table: str) -> list[str]:
    """The columns that can be inserted."""
    rows = await connection.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1"
        " AND is_identity = 'NO' AND is_generated = 'NEVER' ORDER BY ordinal_position",
        table,
    )
    return [str(row["column_name"]) for row in rows]
