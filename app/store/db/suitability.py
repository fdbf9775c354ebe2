"""Checks whether Tapwatt can work with a database. If not, says in one sentence what to do."""

import asyncio
import socket
from collections.abc import Iterator, Sequence

import asyncpg
from sqlalchemy import ARRAY, Text, bindparam, text

from app.domain.units.frozen import frozen
from app.store.db.connect import SERVER_BOUNDS, NotWritable, Silent
from app.store.db.connection import Connection
from app.store.db.pool import PoolTimeout
from app.store.tables import metadata

OLDEST_VERSION = 17
"""The first version with transaction_timeout, which bounds forgotten transactions."""
READ = frozenset({"schema_compatibility"})
"""Tables that migrations alone write (roles.py)."""
TABLES = sorted(table.name for table in metadata.sorted_tables if table.name not in READ)
APPENDED = ["captures", "journal"]
"""Tables whose rows the service may neither change nor delete; those of settlements it may not delete (roles.py)."""
URL = "TAPWATT_DATABASE_URL"
OWNER_URL = "TAPWATT_OWNER_DATABASE_URL"


class DatabaseUnsuitable(Exception):
    """Tapwatt cannot work with this database. The message says why and what to do."""


@frozen(kw_only=True)
class Facts:
    """What a server reports about itself and the rights of its user."""

    version: int
    """`server_version_num`: 180003 is 18.3."""
    encoding: str
    is_standby: bool
    is_read_only: bool
    has_schema: bool
    """Whether some schema of the search path exists and may be used."""
    may_create: bool
    forbidden: Sequence[str] = ()
    """Existing tables of ours in which the user lacks a right that the service needs."""


_FACTS = text(
    "SELECT current_setting('server_version_num')::integer AS version,"
    " current_setting('server_encoding') AS encoding,"
    " pg_is_in_recovery() AS is_standby,"
    " current_setting('transaction_read_only') = 'on' AS is_read_only,"
    " current_schema() IS NOT NULL AS has_schema,"
    " coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,"
    " ARRAY(SELECT name FROM unnest(:tables) AS name WHERE to_regclass(name) IS NOT NULL AND NOT ("
    " has_table_privilege(to_regclass(name), 'SELECT') AND has_table_privilege(to_regclass(name), 'INSERT')"
    " AND (name = ANY (:appended) OR has_table_privilege(to_regclass(name), 'UPDATE'))"
    " AND (name = ANY (:never_deleted) OR has_table_privilege(to_regclass(name), 'DELETE'))))"
    " AS forbidden"
).bindparams(
    bindparam("tables", TABLES, type_=ARRAY(Text)),
    bindparam("appended", APPENDED, type_=ARRAY(Text)),
    bindparam("never_deleted", [*APPENDED, "settlements"], type_=ARRAY(Text)),
)
_BOUNDS = text(
    "SELECT name FROM unnest(:names) AS name"
    " WHERE coalesce(nullif(current_setting(name, true), ''), '0') = '0' ORDER BY name"
).bindparams(bindparam("names", sorted(SERVER_BOUNDS), type_=ARRAY(Text)))


async def check(connection: Connection, *, to_migrate: bool = False) -> None:
    """Raises DatabaseUnsuitable when Tapwatt cannot work with the database."""
    row = (await connection.execute(_FACTS)).one()
    if problem := unsuitable(Facts(**row), to_migrate=to_migrate):
        raise DatabaseUnsuitable(problem)


async def is_bound(connection: Connection) -> bool:
    """Whether row level security binds this user. Otherwise it owns the tables, is a superuser or bypasses it."""
    bound: bool = (
        await connection.execute(text("SELECT row_security_active('payment_sessions')"))
    ).scalar_one()
    return bound


async def connections_in_use(connection: Connection) -> tuple[int, int]:
    """Returns how many connections the server has, and how many it takes."""
    counted = text(
        "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS used,"
        " current_setting('max_connections')::integer AS most"
    )
    row = (await connection.execute(counted)).one()
    return row.used, row.most


async def missing_bounds(connection: Connection) -> list[str]:
    """Returns timeouts that have no effect in this transaction. Something between swallowed them."""
    return (await connection.execute(_BOUNDS)).scalars()


def unsuitable(facts: Facts, *, to_migrate: bool) -> str | None:
    """Why Tapwatt cannot work with the database; None: it can."""
    return next(_reasons(facts, to_migrate=to_migrate), None)


def _reasons(facts: Facts, *, to_migrate: bool) -> Iterator[str]:
    major, minor = divmod(facts.version, 10_000)
    if major < OLDEST_VERSION:
        told = f"{major}.{minor}"
        yield f"The server is PostgreSQL {told}; Tapwatt needs {OLDEST_VERSION} or newer: upgrade it."
    if facts.encoding != "UTF8":
        yield (
            f"The database has the encoding {facts.encoding}: make another one with"
            " CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0."
        )
    if facts.is_standby:
        yield f"The server is a standby: let {URL} name the primary, or all hosts separated by commas."
    if facts.is_read_only:
        yield "The database is read-only: end that (default_transaction_read_only), or name another one."
    if not facts.has_schema:
        yield "The database's user may use no schema: GRANT USAGE ON SCHEMA public to it."
    if to_migrate and not facts.may_create:
        yield (
            f"The database's user may not create tables: let {OWNER_URL} name its owner, or GRANT CREATE ON SCHEMA"
            " public to it."
        )
    if facts.forbidden:
        some = ", ".join(facts.forbidden[:3]) + (", ..." if len(facts.forbidden) > 3 else "")
        yield f"The database's user may not read and write {some}: run `tapwatt migrate` with {OWNER_URL}."


BY_WORDS = (
    (
        "statement pooling mode",
        "The pooler works in statement mode, which has no transactions: set pool_mode = transaction.",
    ),
    (
        "unsupported startup parameter",
        "The pooler refuses a startup parameter: add it to its ignore_startup_parameters.",
    ),
    (
        "prepared statement",
        "A pooler stands before the database and mixes up statements: start Tapwatt again.",
    ),
    (
        "no such database",
        f"The pooler does not know the database that {URL} names: add it to its [databases].",
    ),
    ("no such user", f"The pooler does not know the user that {URL} names: add it to its auth_file."),
    ("no more connections allowed", "The pooler takes no more connections: raise its max_client_conn."),
    ("query_wait_timeout", "The pooler had no free connection in time: raise its default_pool_size."),
    ("server login", "The pooler cannot log in to the server: look into its log."),
    ("server conn crashed", "The pooler has lost the server: check that the server is up."),
    (
        "SSL upgrade",
        f"The server does not speak TLS: set it up, or let {URL} say sslmode=disable where the network is yours.",
    ),
)
"""Messages that need a text match, since poolers use one SQLSTATE for everything."""
BY_STATE = {
    "28": f"The server refuses the user or the password that {URL} names, or its pg_hba.conf refuses this machine.",
    "3D000": f"There is no database of the name that {URL} gives: make it with CREATE DATABASE ... ENCODING 'UTF8'.",
    "42704": f"The server does not know a setting that Tapwatt needs: it must be PostgreSQL {OLDEST_VERSION} or newer.",
    "42501": f"The database's user lacks a right: run `tapwatt migrate` with {OWNER_URL}, whose user needs CREATE ON"
    " SCHEMA public.",
    "25006": f"The database takes no writes: it is a standby or read-only; let {URL} name the primary.",
    "53300": "The server takes no more connections: raise its max_connections, or put PgBouncer before it.",
    "53": "The server is out of disk space or memory.",
    "57P03": "The server is starting up or shutting down: try again in a moment.",
    "55P03": "Another connection holds a lock for too long: try again in a moment.",
}
"""Explanations by SQLSTATE or its prefix."""


def explain(error: BaseException) -> str:
    """Explains any database error in one sentence with what to do. Never quotes a URL or a statement."""
    chain = list(_chain(error))
    for each in chain:
        said = str(each)
        if told := next((told for words, told in BY_WORDS if words in said), None):
            return told
    for each in chain:
        state = str(getattr(each, "sqlstate", None) or "")
        for length in (5, 2):
            if len(state) >= length and state[:length] in BY_STATE:
                return BY_STATE[state[:length]]
    return next((told for each in chain if (told := _by_kind(each))), _unknown(error))


def _by_kind(error: BaseException) -> str | None:
    match error:
        case DatabaseUnsuitable():
            return str(error)
        case NotWritable() | asyncpg.TargetServerAttributeNotMatched():
            return BY_STATE["25006"]
        case socket.gaierror():
            return f"The host name in {URL} is not known."
        case PoolTimeout():
            return "All connections of this process are in use."
        case Silent() | TimeoutError() | asyncio.TimeoutError():
            return f"The server does not answer in time: check {URL}, and that no pooler before it has its pool full."
        case ConnectionRefusedError() | FileNotFoundError():
            return f"No server listens at the address that {URL} names: check it, and that the server is up."
        case _:
            return None


def _unknown(error: BaseException) -> str:
    return f"It does not work ({type(error).__name__}): check {URL}, and that the server is up."


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and its causes."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__
