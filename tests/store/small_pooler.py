"""A proxy that treats start-up parameters as poolers do: refuses or drops them, and gives a process number of its
own. It does not share connections: for that there is PgBouncer itself (pooler.py)."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote

SSL_REQUEST = 80877103
PASSED_ON = {b"user", b"database", b"client_encoding", b"application_name", b"timezone", b"TimeZone"}


@dataclass
class SmallPooler:
    """`refuses`: start-up parameters that are not passed on end the connection, else they are dropped.
    `forgets`: what a transaction sets is dropped as well. `names`: of all statements that were prepared."""

    path: str
    refuses: bool = True
    forgets: bool = False
    names: set[bytes] = field(default_factory=set)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._connection(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        startup = await _startup(reader)
        while struct.unpack("!i", startup[:4])[0] == SSL_REQUEST:
            writer.write(b"N")
            startup = await _startup(reader)
        words = startup[4:].rstrip(b"\0").split(b"\0")
        given = dict(zip(words[::2], words[1::2], strict=True))
        unknown = [name for name in given if name not in PASSED_ON]
        if unknown and self.refuses:
            writer.write(_error("08P01", f"unsupported startup parameter: {unknown[0].decode()}"))
            await writer.drain()
            return
        kept = b"".join(n + b"\0" + v + b"\0" for n, v in given.items() if n in PASSED_ON) + b"\0"
        server_reader, server_writer = await asyncio.open_unix_connection(self.path)
        server_writer.write(struct.pack("!i", len(kept) + 8) + startup[:4] + kept)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._to_client(server_reader, writer))
                both.create_task(self._to_server(reader, server_writer))
        except* (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            server_writer.close()

    async def _to_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            kind, body = await _message(reader)
            if kind == b"K":
                body = struct.pack("!i", 1) + body[4:]
            writer.write(kind + struct.pack("!i", len(body) + 4) + body)
            await writer.drain()

    async def _to_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            kind, body = await _message(reader)
            if kind == b"P":
                self.names.add(body.split(b"\0")[0])
            if kind == b"Q" and self.forgets and body.startswith(b"BEGIN"):
                body = b"BEGIN;\0"
            writer.write(kind + struct.pack("!i", len(body) + 4) + body)
            await writer.drain()


async def _startup(reader: asyncio.StreamReader) -> bytes:
    (size,) = struct.unpack("!i", await reader.readexactly(4))
    return await reader.readexactly(size - 4)


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    kind = await reader.readexactly(1)
    (size,) = struct.unpack("!i", await reader.readexactly(4))
    return kind, await reader.readexactly(size - 4)


def _error(state: str, message: str) -> bytes:
    body = b"SFATAL\0VFATAL\0C" + state.encode() + b"\0M" + message.encode() + b"\0\0"
    return b"E" + struct.pack("!i", len(body) + 4) + body


@asynccontextmanager
async def small_pooler(
    database_url: str, *, refuses: bool = True, forgets: bool = False
) -> AsyncIterator[tuple[str, SmallPooler]]:
    """The URL of the same database through it, and itself."""
    name, folder = database_url.split("@/")[1].split("?host=")
    pooler = SmallPooler(f"{unquote(folder)}/.s.PGSQL.5432", refuses=refuses, forgets=forgets)
    server = await asyncio.start_server(pooler.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"postgresql://tapwatt_service@127.0.0.1:{port}/{name}", pooler
    finally:
        server.close()
        await pooler.close()
