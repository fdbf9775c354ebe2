"""Opens connections to PostgreSQL: parses libpq URLs, finds the writable host."""

import asyncio
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

import asyncpg
from sqlalchemy import URL
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

from app.domain.units.egress import is_loopback
from app.domain.units.frozen import frozen
from app.store.db.scope import NONE

_FORM = re.compile(
    r"(?:postgresql|postgres)(?:\+\w+)?://(?:(?P<login>[^/?]*)@)?(?P<hosts>[^/?@]*)(?:/(?P<name>[^/?]*))?(?:\?(?P<query>.*))?"
)
_HOST = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\[\]]*)(?::(?P<port>[0-9]{1,5}))?")
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
DEFAULT_PORT = 5432


class DatabaseUrlInvalid(ValueError):
    """The URL cannot be used. The message says what to write instead and never repeats a password."""


def asyncpg_url(url: str) -> URL:
    """`postgresql://user:password@host:5432/name`, several hosts separated by commas, `?host=/folder` for a socket.

    Raises DatabaseUrlInvalid. `sslmode` means what it means to libpq; where it is missing, hosts beyond this machine
    are connected to by TLS only (`require`). `target_session_attrs` is taken and ignored: the writable host is always
    the one that is used.
    """
    form = _FORM.fullmatch(url)
    if form is None:
        raise DatabaseUrlInvalid(
            "a database URL is written postgresql://user:password@host:5432/name, with the special characters of the"
            " password percent-encoded (@ is %40, / is %2F)"
        )
    user, _, password = (form["login"] or "").partition(":")
    hosts = [_host_and_port(each) for each in form["hosts"].split(",")]
    options = _options(form["query"] or "")
    (host, port), several = hosts[0], len(hosts) > 1
    if several:
        options |= {
            "host": ",".join(h for h, _ in hosts),
            "port": ",".join(str(p or DEFAULT_PORT) for _, p in hosts),
        }
    made = URL.create(
        "postgresql+asyncpg",
        username=unquote(user) or None,
        password=unquote(password) or None,
        host=None if several else host or None,
        port=None if several else port,
        database=unquote(form["name"] or "") or None,
        query=options,
    )
    if "ssl" in options or "PGSSLMODE" in os.environ or not _hosts_beyond(made):
        return made
    return made.update_query_dict({"ssl": "require"})


def _host_and_port(text: str) -> tuple[str, int | None]:
    found = _HOST.fullmatch(text)
    port = int(found["port"]) if found and found["port"] else None
    if found is None or (port is not None and not 0 < port < 65_536):
        raise DatabaseUrlInvalid("a host is written name:port, with a port from 1 to 65535")
    return unquote(found["host"].strip("[]")), port


def _options(query: str) -> dict[str, str]:
    given = dict(parse_qsl(query, keep_blank_values=True))
    options: dict[str, str] = {name: given.pop(name) for name in ("host", "port") if name in given}
    given.pop("target_session_attrs", None)
    options["target_session_attrs"] = "read-write"
    mode = given.pop("sslmode", given.pop("ssl", None))
    if mode is not None:
        if mode not in SSL_MODES:
            raise DatabaseUrlInvalid(f"sslmode must be one of {', '.join(SSL_MODES)}")
        options["ssl"] = mode
    if given:
        raise DatabaseUrlInvalid("of a database URL's options only host, port and sslmode are known here")
    return options


def unverified_hosts(url: str) -> list[str]:
    """Names the hosts that are not proven to be the database. Those beyond this machine, without `verify-full`."""
    made = asyncpg_url(url)
    if made.query.get("ssl", os.environ.get("PGSSLMODE")) == "verify-full":  # as asyncpg reads it
        return []
    return _hosts_beyond(made)


def _hosts_beyond(url: URL) -> list[str]:
    """Names the hosts of a URL that are not this machine."""
    named = url.query.get("host", url.host)
    hosts = [] if not named else named.split(",") if isinstance(named, str) else list(named)
    return [host for host in hosts if host and not host.startswith(("/", "@")) and not is_loopback(host)]


STATEMENTS_KEPT = 300
"""Prepared statements of each connection; the service has about 200."""
SESSION = {"application_name": "tapwatt", "timezone": "UTC"}
PLANS = {"plan_cache_mode": "force_generic_plan"}
"""A statement is planned once on each connection. For the values that it has each time, planning took longer than
executing, and tests check the plans for any values."""
SERVER_BOUNDS = {
    "statement_timeout": "5000",
    "lock_timeout": "3000",
    "transaction_timeout": "10000",
    "idle_in_transaction_session_timeout": "5000",
}
"""Server-side limits in milliseconds for a statement, a lock wait and an idle transaction."""


@frozen(kw_only=True)
class Bounds:
    """How long a server may keep us waiting, in seconds."""

    connect_s: float = 3.0
    """Per host, so that a host that swallows every packet leaves time for the others."""
    answer_s: float | None = 8.0
    """Timeout for one answer: a server that keeps its own bounds has answered by then. None: no timeout."""


USUAL_BOUNDS = Bounds()


class NotWritable(ConnectionError):
    """A server answers but takes no writes. It is a standby, or has a read-only database."""


class Silent(ConnectionError):
    """No host answered in time. Unlike TimeoutError, which an open connection raises when it dies."""


OWN_TYPES = 10_000
"""PostgreSQL numbers its own types below this, the same in every database."""
_types: dict[frozenset[int], Any] = {}
"""What the server said about its own types, for all connections of this process."""


class ServerConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection to the server itself."""

    scope: str | None = NONE
    """What `scope.SETTING` is outside of transactions; None: not known."""

    async def _introspect_types(self, typeoids: Iterable[int], timeout: float) -> Any:
        """Asks the server about types such as timestamptz[], once in a process.

        asyncpg asks on each connection, which costs PostgreSQL as much as a hundred reads.
        """
        asked = frozenset(typeoids)
        if asked not in _types:
            told = await super()._introspect_types(asked, timeout)
            if max(asked) >= OWN_TYPES:
                return told
            _types[asked] = told
        return _types[asked]


class PooledConnection(ServerConnection):
    """A connection through a transaction pooler. The pooler may use another server connection for each transaction.

    Session state does not outlive a transaction: the bounds are set by the message that begins it, and statements are
    prepared without a name.
    """

    server_bounds: Mapping[str, str] = {}

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        """Raises the same errors as asyncpg's own method."""
        if query.startswith("BEGIN;"):
            bounds = "".join(f" SET LOCAL {name} = {value};" for name, value in self.server_bounds.items())
            query = f"BEGIN;{bounds}{query.removeprefix('BEGIN;')}"  # a transaction's own bounds come last
        status: str = await super().execute(query, *args, timeout=timeout)
        return status


def is_pooled(connection: asyncpg.Connection) -> bool:
    """Whether a connection goes through a pooler. Compares the exact type: asyncpg's metaclass makes every connection
    an instance of each subclass."""
    return type(connection) is PooledConnection


POOLERS_WORDS = ("08P01", "42704", "0A000", "42P05", "26000")
"""SQLSTATEs that show that a pooler was taken for a server: a start-up parameter that it does not pass on (or an old
server does not know), or a prepared statement's name that another client uses or the next connection does not know."""

ELSEWHERE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""After these errors the next host is tried."""


class WritableHost:
    """Connects to a URL's writable host, trying the last one first. The last good one."""

    def __init__(
        self,
        url: URL,
        *,
        bounds: Bounds = USUAL_BOUNDS,
        server_bounds: Mapping[str, str] = SERVER_BOUNDS,
    ) -> None:
        self.url = url
        dialect: Any = PGDialect_asyncpg
        _, options = dialect().create_connect_args(url)
        self._hosts = tuple(_hosts(options))
        self._options: Mapping[str, Any] = options
        self._bounds = bounds
        self._server_bounds = server_bounds
        self._pooled: dict[int, bool] = {}
        """Whether a pooler stands before each host; filled in as it becomes known."""
        self._last = 0

    async def connect(self) -> asyncpg.Connection:
        """Raises the last host's error. An answer from a server takes precedence over a timeout."""
        said: Exception | None = None
        for n in range(len(self._hosts)):
            number = (self._last + n) % len(self._hosts)
            try:
                connection = await self._open(number)
            except ELSEWHERE as error:
                said = (
                    error if said is None or isinstance(error, asyncpg.PostgresError | NotWritable) else said
                )
            else:
                self._last = number
                return connection
        assert said is not None, "there is always a host"
        raise said

    async def _open(self, number: int) -> asyncpg.Connection:
        try:
            async with asyncio.timeout(self._bounds.connect_s):
                if not self._pooled.get(number):
                    connection = await self._direct(number)
                    if connection is not None:
                        return connection
                return await self._through_pooler(number)
        except asyncpg.TargetServerAttributeNotMatched:
            raise NotWritable("the server takes no writes") from None
        except TimeoutError:
            raise Silent("the server does not answer") from None

    async def _direct(self, number: int) -> asyncpg.Connection | None:
        """Connects directly, with bounds that last; None: a pooler answers."""
        try:
            connection = await self._asyncpg(
                number,
                server_settings={**SESSION, **PLANS, **self._server_bounds},
                statement_cache_size=STATEMENTS_KEPT,
                connection_class=ServerConnection,
                max_cached_statement_lifetime=0,
            )
            if number not in self._pooled:
                self._pooled[number] = await _is_pooler(connection)
        except asyncpg.PostgresError as error:
            if error.sqlstate not in POOLERS_WORDS:
                raise
            self._pooled[number] = True
            return None
        if not self._pooled[number]:
            return connection
        await connection.close()
        return None

    async def _through_pooler(self, number: int) -> asyncpg.Connection:
        connection = await self._asyncpg(
            number,
            server_settings=SESSION,
            statement_cache_size=0,
            connection_class=PooledConnection,
        )
        connection.server_bounds = self._server_bounds
        return connection

    async def _asyncpg(self, number: int, **more: object) -> Any:
        return await asyncpg.connect(
            **self._hosts[number],
            **self._options,
            timeout=self._bounds.connect_s,
            command_timeout=self._bounds.answer_s,
            **more,
        )


async def _is_pooler(connection: asyncpg.Connection) -> bool:
    """Compares the server process of the start with the executing one. By its process id."""
    question = await connection.prepare("SELECT pg_backend_pid()", name="")
    return bool(await question.fetchval() != connection.get_server_pid())


def _hosts(options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Splits host and port out of asyncpg's arguments. They hold one pair or lists of them."""
    host, port = options.pop("host", None), options.pop("port", None)
    if not isinstance(host, list):
        host, port = [host], [port]
    for name, number in zip(host, port if isinstance(port, list) else [port] * len(host), strict=True):
        yield {key: value for key, value in (("host", name), ("port", number)) if value is not None}
