"""TCP proxy in front of PostgreSQL that recognizes a COMMIT, and can lose it or its answer."""

import asyncio
import re
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

SSL_REQUEST, NO_SSL = struct.pack("!ii", 8, 80877103), b"N"
QUERY, COMMIT = b"Q", b"COMMIT;"
"""A COMMIT may come in one message with notifications, which follow it."""
ROLLBACK = b"Q\x00\x00\x00\x0eROLLBACK;\x00"
DONE = b"C\x00\x00\x00\x0bCOMMIT\x00"
WROTE = re.compile(rb"C\x00\x00\x00.(?:INSERT 0|UPDATE|DELETE) [1-9]", re.DOTALL)
KIND = re.compile(rb"payment_authorized|start_intended|start_accepted|stop_intended|settlement_decided")
CHUNK = 65536
Open = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Fate(StrEnum):
    """The fate of a COMMIT."""

    PASS = "pass"
    LOST = "lost"
    """It never reaches the server, and the connection ends."""
    UNANSWERED = "unanswered"
    """The server does it, and the connection ends before the answer is delivered."""


@dataclass(slots=True)
class Transaction:
    """The state of a transaction: whether it wrote, and the kinds of its journal lines."""

    wrote: bool = False
    kinds: set[str] = field(default_factory=set)


async def _pass(_: Transaction) -> Fate:
    return Fate.PASS


async def _deliver(_: Transaction) -> None:
    return None


class Proxy:
    """Listens on a free port of loopback. `fate_of` decides on each COMMIT, `before_answer` runs when the server
    has done one and its answer was not delivered yet. While `dead`, nothing moves in either direction, as with
    a pulled cable."""

    def __init__(self, open_server: Open) -> None:
        self._open = open_server
        self.fate_of: Callable[[Transaction], Awaitable[Fate]] = _pass
        self.before_answer: Callable[[Transaction], Awaitable[None]] = _deliver
        self._alive = asyncio.Event()
        self._alive.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    def let_pass(self) -> None:
        self.fate_of, self.before_answer = _pass, _deliver

    def die(self) -> None:
        self._alive.clear()

    def revive(self) -> None:
        self._alive.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._alive.wait()
        first = await reader.read(CHUNK)
        if first == SSL_REQUEST:
            writer.write(NO_SSL)
            first = await reader.read(CHUNK)
        server_reader, server_writer = await self._open()
        try:
            server_writer.write(first)
            link = _Link(self, (reader, writer), (server_reader, server_writer))
            ways = [asyncio.create_task(link.upwards()), asyncio.create_task(link.downwards())]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)  # whichever end was reset first
        finally:
            server_writer.transport.abort()

    async def moving(self) -> None:
        await self._alive.wait()


class _Link:
    """One client and its server; asyncpg never sends a second request before the first is answered."""

    def __init__(
        self,
        proxy: Proxy,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._client, self._server = client, server
        self._now = Transaction()
        self._fate = Fate.PASS
        self._committing = False

    async def upwards(self) -> None:
        while some := await self._client[0].read(CHUNK):
            await self._proxy.moving()
            self._now.kinds |= {found.decode() for found in KIND.findall(some)}
            if some == ROLLBACK:
                self._now = Transaction()
            elif some.startswith(QUERY) and COMMIT in some:
                self._committing = True
                self._fate = await self._proxy.fate_of(self._now)
                if self._fate is Fate.LOST:
                    return
            self._server[1].write(some)
            await self._server[1].drain()

    async def downwards(self) -> None:
        while some := await self._server[0].read(CHUNK):
            await self._proxy.moving()
            self._now.wrote |= WROTE.search(some) is not None
            if self._committing and DONE in some:
                if self._fate is Fate.UNANSWERED:
                    return
                await self._proxy.before_answer(self._now)
                self._now, self._committing = Transaction(), False
            self._client[1].write(some)
            await self._client[1].drain()
