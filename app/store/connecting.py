"""Opening connections to PostgreSQL: of several hosts the one that takes writes, within a bound for each host."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import URL
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

SERVER_BOUNDS = {
    "application_name": "tapwatt",
    "statement_timeout": "5000",
    "lock_timeout": "3000",
    "transaction_timeout": "10000",
    "idle_in_transaction_session_timeout": "5000",
    "timezone": "UTC",
}
"""Milliseconds: no statement, lock or forgotten transaction lasts longer, whatever the client does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How long a server may keep us waiting, in seconds."""

    connect_s: float = 3.0
    """For each host: one that swallows every packet must not use up the time of the others."""
    answer_s: float = 8.0
    """A server that keeps its own bounds has answered by then; one that has not is gone."""


USUAL_BOUNDS = Bounds()


class NotWritable(ConnectionError):
    """A server answers, but it takes no writes: a standby that nobody promoted, or a database that is read-only."""


class Silent(ConnectionError):
    """Nobody answered in time: not the TimeoutError of a connection that was open and has died."""


ELSEWHERE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""After these the next host is tried."""


class WritableHost:
    """Opens connections to whichever host of a URL takes writes; the one that did last is asked first."""

    def __init__(self, url: URL, *, bounds: Bounds = USUAL_BOUNDS) -> None:
        dialect: Any = PGDialect_asyncpg
        _, options = dialect().create_connect_args(url)
        self._hosts = tuple(_hosts(options))
        self._options: Mapping[str, Any] = options
        self._bounds = bounds
        self._last = 0

    async def connect(self) -> asyncpg.Connection:
        """Raises what the last host said, but rather what a server said than that nobody answered."""
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
                return await asyncpg.connect(
                    **self._hosts[number],
                    **self._options,
                    timeout=self._bounds.connect_s,
                    command_timeout=self._bounds.answer_s,
                    server_settings=SERVER_BOUNDS,
                )
        except asyncpg.TargetServerAttributeNotMatched:
            raise NotWritable("the server takes no writes") from None
        except TimeoutError:
            raise Silent("the server does not answer") from None


def _hosts(options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Takes host and port out of asyncpg's arguments: one pair, or lists of them."""
    host, port = options.pop("host", None), options.pop("port", None)
    if not isinstance(host, list):
        host, port = [host], [port]
    for name, number in zip(host, port if isinstance(port, list) else [port] * len(host), strict=True):
        yield {key: value for key, value in (("host", name), ("port", number)) if value is not None}
